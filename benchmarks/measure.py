"""Run a command and measure all its processes: seconds, CPU seconds, and the largest memory of the tree."""

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class Measured:
    """What one run of a command took."""

    seconds: float
    cpu_seconds: float
    """User and system, of all processes, from the start of Python on."""
    pss_mib: float
    """The largest sum of proportional set sizes: memory that processes share counts once."""
    output: str
    """What it printed."""


def measure(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Measured:
    """Run a command to its end.

    Args:
        command: What to run.
        folder: Where to run it.
        environment: Variables on top of those here.

    Raises:
        SystemExit: The command failed; its output is shown.
    """
    # Workers are not children of the command's own process: what is left of it when that ends comes to this one.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    begin = time.perf_counter()
    log = folder / "benchmark.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    memory = _Memory(process.pid)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    while True:
        try:
            left = os.wait4(-1, 0)[2]
        except ChildProcessError:
            break
        cpu += left.ru_utime + left.ru_stime
    peak = memory.stop()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Measured(seconds, cpu, peak / 1024, log.read_text())


class _Memory:
    """Adds up the memory of a process and its descendants, again and again."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._stopped = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Return the largest sum seen, in KiB."""
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        own = os.getpid()
        while not self._stopped.wait(SECONDS_BETWEEN_LOOKS):
            children: dict[int, list[int]] = {}
            for pid, parent in _parents():
                children.setdefault(parent, []).append(pid)
            todo, found = [*children.get(own, ())], 0
            while todo:
                pid = todo.pop()
                found += _pss(pid)
                todo += children.get(pid, ())
            self._peak = max(self._peak, found)


def _parents() -> list[tuple[int, int]]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # pid (name, which may hold anything) state parent ...
                found.append((int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])))
            except (OSError, IndexError):  # it has ended
                continue
    return found


def _pss(pid: int) -> int:
    """Proportional set size in KiB; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
