"""The folders that the documentation's commands run in, and how a block is run there."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.pages import ROOT, Block
from tests.docs.rules import WHERE_INSTALLED, find_rules

from nemotron.cli.app import run

PLACEHOLDERS = ("/models/", "/data/", "/checkpoints/")
"""Folders of somebody's cluster that commands name: below the working folder here."""
FROM_THE_CLONE = ("config", "examples", "src", "env.toml.example")


@dataclass
class Workshop:
    """A folder with what a clone has, and what the pages' blocks have made of it."""

    folder: Path
    adds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Start of a command -> arguments that its commands get, such as the address of a server."""

    def __post_init__(self) -> None:
        """Link what commands expect of a clone."""
        for name in FROM_THE_CLONE:
            (self.folder / name).symlink_to(ROOT / name)

    def keep(self) -> None:
        """Note which artifacts are recorded."""
        shutil.copytree(self.folder / "output/artifacts", self.folder / "kept")

    def restore(self) -> None:
        """Forget the artifacts recorded since, which other pages would take for the latest."""
        shutil.rmtree(self.folder / "output/artifacts")
        shutil.copytree(self.folder / "kept", self.folder / "output/artifacts")

    def run_block(self, block: Block) -> None:
        """Write a block that names a file; run one that holds commands, each of which must succeed."""
        match block.info:
            case (_, file):
                (self.folder / file).write_text(self._placed(block.text), encoding="utf-8")
            case ("python",):
                self._run_python(block.text)
            case ("console",):
                self._run_session(block.text)
            case ():
                for line in block.text.splitlines():
                    self.run_line(line)

    def _run_session(self, text: str) -> None:
        """Run the commands behind each `$ `, and find in what they print the lines that follow."""
        for session in text.split("$ ")[1:]:
            command, _, expected = session.partition("\n")
            shell = f"{command.replace('nemotron ', f'{sys.executable} -m nemotron ', 1)} 2>&1 || true"
            assert expected in self._run_process(["bash", "-c", shell]), command

    def run_line(self, line: str) -> str:
        """Run one command line as its rule says, and return what it prints."""
        command = without_comment(line).removeprefix("uv run ").removeprefix(".venv/bin/")
        if not command:
            return ""
        rules = find_rules(f"uv run {command}" if command.startswith("--project") else command)
        if any(rule.never or rule.elsewhere for rule in rules) or lacks_program(command):
            return ""
        added = [*dict.fromkeys(word for rule in rules for word in rule.adds), *self._added(command)]
        added = [word for word in added if word not in command.split()]
        command = self._placed(command)
        if (
            command.startswith("nemotron ")
            and not {"|", ">", "&&"} & set(command.split())
            and not trains(command, added)
        ):
            return self._run_here([*shlex.split(command)[1:], *added])
        shell = " ".join([command.replace("nemotron ", f"{sys.executable} -m nemotron ", 1), *added])
        return self._run_process(["bash", "-euo", "pipefail", "-c", shell])

    def _added(self, command: str) -> tuple[str, ...]:
        return next((added for start, added in self.adds.items() if command.startswith(start)), ())

    def _placed(self, text: str) -> str:
        for place in PLACEHOLDERS:
            for before in (" ", '"', "=", "\n"):
                text = text.replace(f"{before}{place}", f"{before}{self.folder}{place}")
        return text

    def _run_here(self, arguments: list[str]) -> str:
        """Run a command of ours in this process, which has imported it already."""
        shown = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            code = run(arguments)
        assert code == 0, f"nemotron {' '.join(arguments)} ended with {code}:\n{shown.getvalue()}"
        return shown.getvalue()

    def _run_python(self, text: str) -> None:
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(text, "block", "exec"), {})

    def _run_process(self, command: list[str]) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.folder, env=os.environ | {"PATH": path}, text=True, timeout=600, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{command[-1]} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


def without_comment(line: str) -> str:
    """Return a command line without what a shell calls a comment."""
    return re.sub(r"(^|\s+)#(\s.*|$)", "", line).strip()


def lacks_program(command: str) -> bool:
    """Tell whether a command needs a program that is not installed here."""
    return any(name in command.split() and shutil.which(name) is None for name in WHERE_INSTALLED)


def trains(command: str, added: list[str]) -> bool:
    """Tell whether a command starts Megatron, which should not happen in the process of the tests."""
    starts = re.match(r"nemotron super3 (sft|pipe|model (export|chat))\b", command) is not None
    return starts and "--dry-run" not in [*command.split(), *added]
