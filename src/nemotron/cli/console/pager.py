"""Show long results through the user's pager, as git does."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from nemotron.cli.console import screen

_USUAL = "less"


@contextmanager
def use_pager(*, wanted: bool = True) -> Iterator[None]:
    """Send the results to $PAGER as soon as they are longer than the screen.

    Output that does not go to a terminal is not paged. Leaving the pager also ends the work in the `with` block.

    Args:
        wanted: False for --no-pager.
    """
    command = _find_pager() if wanted and screen.is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb" else None
    if command is None:
        yield
        return
    stream = _LateStream(command, shutil.get_terminal_size().lines - 1)
    try:
        with screen.results_go_to(stream):  # pyright: ignore[reportArgumentType]
            yield
    except (BrokenPipeError, KeyboardInterrupt):  # the user left the pager, or stopped the output with Ctrl-C
        if not stream.is_paging:
            raise
    finally:
        stream.finish()


def _find_pager() -> list[str] | None:
    """Return the pager's command; None if there is none or the user wants none."""
    words = shlex.split(os.environ.get("PAGER", _USUAL))
    if not words or words[0] == "cat" or shutil.which(words[0]) is None:
        return None
    return [*words, "-R"] if Path(words[0]).name == "less" else words  # -R shows colours


class _LateStream:
    """A text stream that starts the pager once there is more than one screen."""

    def __init__(self, command: list[str], lines: int) -> None:
        self._command = command
        self._lines = lines
        self._held = ""
        self._pager: subprocess.Popen[str] | None = None
        self._pipe: IO[str] | None = None

    @property
    def is_paging(self) -> bool:
        return self._pager is not None

    def write(self, text: str) -> int:
        if self._pipe is not None:
            self._pipe.write(text)
            return len(text)
        self._held += text
        if self._held.count("\n") > self._lines:
            self._start()
        return len(text)

    def flush(self) -> None:
        if self._pipe is not None:
            self._pipe.flush()

    def isatty(self) -> bool:
        return True

    def finish(self) -> None:
        """Print a text that fits on the screen, or wait until the user leaves the pager."""
        if self._pager is None:
            sys.stdout.write(self._held)
            sys.stdout.flush()
            return
        with suppress(OSError):
            assert self._pipe is not None
            self._pipe.close()
        while True:
            try:
                self._pager.wait()
                return
            except KeyboardInterrupt:  # the pager handles it: less stops a search
                continue

    def _start(self) -> None:
        self._pager = subprocess.Popen(self._command, stdin=subprocess.PIPE, text=True, encoding="utf-8")
        self._pipe = self._pager.stdin
        self.write(self._held)
        self.flush()
        self._held = ""
