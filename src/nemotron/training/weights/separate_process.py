"""Run a module of this package in a separate process, with its own Megatron state."""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from nemotron.errors import UserError
from nemotron.exit_codes import TERMINATED
from nemotron.files.paths import nearest_folder
from nemotron.training.checkpoints.verified_parts import find_user_error

_PARENT = "NEMOTRON_PARENT"
"""The environment variable with the id of the process that waits for a module."""
_REFUSAL = "nemotron.errors.UserError "
"""Begins the line of output that hands a UserError over, as JSON."""
_SAYS_FULL = re.compile(r"No space left on device|Disk quota exceeded|os error 28\b|\bunexpected pos \d")
"""The last is what torch's zip writer says (see full_disk.py)."""
_PR_SET_PDEATHSIG = 1
_SECONDS_TO_END = 20


def run_module(module: str, arguments: Sequence[str], what: str, into: Path, needs: int = 0) -> None:
    """Run `python -m module arguments`, and wait for it.

    The module must not read variables of a launcher (RANK, WORLD_SIZE), which the process inherits. Its `main` works in
    `separate_process()`; it ends when this process does.

    Args:
        module: The module's full name.
        arguments: Its command-line arguments.
        what: The subject of the error, such as "Exporting /checkpoint".
        into: The folder that it writes.
        needs: About how many bytes it writes there, if known.

    Raises:
        UserError: Raised by the module, or the module failed; the message has the end of its output, or says that the
            disk is full.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, _PARENT: str(os.getpid())}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, errors="replace", env=environment) as process:
        try:
            output, errors = process.communicate()
        except BaseException:  # a signal: let it remove what it has begun
            process.terminate()
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_SECONDS_TO_END)
            finally:  # a second Ctrl-C does not wait
                process.kill()
            raise
    if process.returncode == 0:
        return
    lines = (output + errors).strip().splitlines()
    for line in lines:
        if line.startswith(_REFUSAL):
            raise UserError(*json.loads(line.removeprefix(_REFUSAL)))
    if any(_SAYS_FULL.search(line) for line in lines):
        free = shutil.disk_usage(nearest_folder(into)).free
        wanted = f"it needs about {needs:,} bytes, and" if needs else "only"
        raise UserError(
            f"{what} failed, because the disk of {into} is full: {wanted} {free:,} are free.",
            "Its input is intact, and nothing unfinished is left. Free space, and run the same command again.",
        )
    tail = "\n".join(lines[-15:])
    raise UserError(
        f"{what} failed.\n{tail}",
        f"Its input is intact. To see its whole output, run: {' '.join(['python', *command[1:]])}",
    )


@contextlib.contextmanager
def separate_process() -> Iterator[None]:
    """Work as the process of `run_module` in the `with` block.

    A UserError is handed over, or shown as the last line where nobody waits for it. SIGTERM raises SystemExit, so that
    what was begun is removed; it is also sent when the parent dies.
    """
    parent = os.environ.pop(_PARENT, None)
    before = signal.signal(signal.SIGTERM, _end)
    if parent is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it died before this
            _end()
    try:
        yield
    except BaseException as error:  # torch's errors of checkpoints are not Exceptions
        if (problem := find_user_error(error)) is None:
            raise
        if parent is not None:
            print(_REFUSAL + json.dumps([problem.message, problem.hint]), flush=True)
        sys.exit(str(problem))
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(TERMINATED)
