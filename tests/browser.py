"""A headless Chromium for tests of the pages, driven through its debugging pipe: nothing to install but Chromium."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OVERFLOW = """
[...document.querySelectorAll('body *')]
  .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .filter((each) => !each.closest('table, pre') && getComputedStyle(each).position !== 'absolute')
  .map((each) => each.outerHTML.slice(0, 120))
"""
"""What is wider than the page; tables and code scroll by themselves."""
SECONDS = 60


class Browser:
    """One process of Chromium with one page, which is used again for every file."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        here, theirs = os.pipe(), os.pipe()
        flags = "--headless=new --no-sandbox --disable-gpu --remote-debugging-pipe"
        # Chromium reads its file descriptor 3 and writes 4.
        shell = f'exec "$0" {flags} --user-data-dir="$1" about:blank 3<&{here[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, CHROMIUM, str(profile)],
            pass_fds=(here[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(here[0])
        os.close(theirs[1])
        self._to, self._from = here[1], theirs[0]
        self._unread, self._calls, self._session = b"", 0, ""
        self.errors: list[str] = []
        """What the page wrote to the console as an error, and its uncaught exceptions, since it was opened."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, file: Path, width: int, *, dark: bool = False) -> None:
        """Load a file in a window of this width, for a reader who likes it dark or light."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Page.navigate", url="about:blank")
        self.errors.clear()
        self._call("Page.navigate", url=file.absolute().as_uri())
        self.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        self.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")

    def run(self, script: str) -> Any:
        """Run JavaScript in the page; a promise is waited for. Returns its value."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until JavaScript is true, also across a page that loads itself again."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(AssertionError):  # there is no document while one is loaded
                if self.run(condition):
                    return
            time.sleep(0.05)
        raise AssertionError(f"never true: {condition}")

    def overflow(self) -> list[str]:
        """Return the elements that run off the page to the right."""
        return self.run(OVERFLOW)

    def hover(self, selector: str, share: float = 0.5) -> None:
        """Move the mouse over an element, at this share of its width."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.run(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        x, y = box["x"] + share * box["width"], box["y"] + box["height"] / 2
        for step in (3, 0):
            self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x - step, y=y)
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def screenshot(self, file: Path) -> None:
        """Write the whole page as a PNG."""
        height = self.run("document.documentElement.scrollHeight")
        width = self.run("document.documentElement.clientWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self._call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        asked = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == asked["id"]:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(str(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] == "error":
                self.errors.append(str(said["args"]))
            case "Log.entryAdded" if said["entry"]["level"] == "error":
                self.errors.append(said["entry"]["text"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self._from], [], [], SECONDS)[0], "Chromium does not answer"
            more = os.read(self._from, 1 << 16)
            assert more, "Chromium has ended"
            self._unread += more
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)
