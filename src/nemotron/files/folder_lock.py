"""Allow one writer per folder, also across nodes that share a file system."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from nemotron.errors import UserError
from nemotron.files.regular_files import open_file
from nemotron.files.typed import typed

LOCK = ".lock"
HEARTBEAT_SECONDS = 5.0
SILENCE_SECONDS = 45.0
"""A holder on another machine counts as dead after this much silence. File attributes on NFS may be stale."""
LOOK_NEAR_SECONDS, LOOK_FAR_SECONDS = 0.5, 10.0
"""Seconds between two checks of a holder, on the same machine and on another: hundreds of ranks may be checking."""
_LARGEST = 2**16
"""More bytes than a lock file has; a damaged one may seem to have any number."""
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder.

    It is written to the lock file, so that another process can tell whether the holder is alive.
    """

    token: str
    host: str
    pid: int
    started: str
    job: str | None = None
    """Slurm's job id."""
    machine: str = ""
    """The boot id and the pid namespace of the machine: a pid is only meaningful within both."""
    birth: str = ""
    """When the process started, in ticks since boot: pids are reused."""

    def __str__(self) -> str:
        job = f" of job {self.job}" if self.job else ""
        return f"process {self.pid}{job} on {self.host} since {self.started}"


@contextlib.contextmanager
def sole_writer(folder: Path, setting: str = "output_dir") -> Iterator[None]:
    """Hold a folder for the duration of the `with` block, as its only writer.

    An operating-system lock refuses a second process immediately, if the file system supports locks across machines.
    Not all do, so the lock file also names its holder, who touches it every few seconds. A dead holder does not keep
    the folder: its process is looked up if it ran on this machine, and its silence is waited for if it ran on another.

    Args:
        folder: Created if it is missing.
        setting: The setting that names the folder, for the message.

    Raises:
        UserError: Another process holds the folder; the message says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_file(folder / LOCK, "a+b") as file:
        if other := _find_other(folder, file):
            raise UserError(
                f"{folder} is being written by {other}.", f"Wait until it ends, or choose another {setting}."
            )
        us = _this_process()
        _write(file, json.dumps(asdict(us)))
        stop = threading.Event()
        heart = threading.Thread(target=_beat, args=(file, stop), daemon=True)
        heart.start()
        try:
            yield
        finally:
            stop.set()
            heart.join()
            _write(file, "")


def find_holder(folder: Path) -> Holder | None:
    """Return the process that holds a folder now, or None.

    Changes nothing and does not wait.
    """
    try:
        with open_file(folder / LOCK) as file:
            holder = _read(file)
            if holder is None or (holder.pid == os.getpid() and holder.machine == _machine()):
                return None
            return holder if _is_alive(folder, holder, 0) else None
    except OSError:
        return None


def wait_until_free(folder: Path, seconds: float) -> Holder | None:
    """Wait until a folder is free, or its holder has died.

    Args:
        seconds: The longest time to wait.

    Returns:
        The process that still holds the folder, or None if it is free.
    """
    deadline = time.monotonic() + seconds
    looked_free, pause = 0, LOOK_NEAR_SECONDS
    while True:
        holder = find_holder(folder)
        if holder is None:
            looked_free += 1
            if looked_free == 2:  # a single check may fail, or run while the holder is writing its name
                return None
        else:
            looked_free, pause = 0, LOOK_NEAR_SECONDS if holder.machine == _machine() else LOOK_FAR_SECONDS
            if time.monotonic() >= deadline:
                return holder
        time.sleep(pause)


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return True


def _find_other(folder: Path, file: IO[bytes]) -> Holder | str | None:
    """Return the live holder of the lock file.

    None means that this process may hold it, and has the lock if the file system supports locks.
    """
    is_locked, holder = _lock(file), _read(file)
    if holder is None:
        return None if is_locked else "another process"
    if _is_alive(folder, holder, SILENCE_SECONDS):
        return holder
    if not is_locked:  # by a child of a dead holder, or by a process that came just before us
        time.sleep(0.5)
        now = _read(file)
        return now if now != holder else None
    return None


def _read(file: IO[bytes]) -> Holder | None:
    file.seek(0)
    try:
        return typed(Holder, json.loads(file.read(_LARGEST)))
    except (ValueError, RecursionError):  # free, or from an earlier release
        return None


def _write(file: IO[bytes], content: str) -> None:
    file.truncate(0)
    file.write(content.encode())
    file.flush()
    with contextlib.suppress(OSError):
        os.fsync(file.fileno())


def _beat(file: IO[bytes], stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(file.fileno())


def _is_alive(folder: Path, holder: Holder, patience: float) -> bool:
    """Tell whether the holder is alive.

    On this machine its process is looked up; on another machine it counts as dead after `patience` seconds of silence.
    """
    if holder.machine and holder.machine == _machine():
        return _birth(holder.pid) == holder.birth
    heard = _heard(folder)
    silent = _clock_of(folder) - heard
    if silent > SILENCE_SECONDS:
        return False
    deadline = time.monotonic() + min(patience, SILENCE_SECONDS - silent)
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if _heard(folder) != heard:
            return True
    return patience == 0


def _heard(folder: Path) -> float:
    with open_file(folder / LOCK) as file:  # opening the file fetches its attributes from the server, if there is one
        return os.fstat(file.fileno()).st_mtime


def _clock_of(folder: Path) -> float:
    """Return the time on the clock that sets the folder's file times."""
    probe = folder / f".clock.{secrets.token_hex(4)}.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)


def _this_process() -> Holder:
    return Holder(
        token=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=os.getpid(),
        started=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        job=os.environ.get("SLURM_JOB_ID"),
        machine=_machine(),
        birth=_birth(os.getpid()),
    )


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _birth(pid: int) -> str:
    """Return the start time of a process, field 22 of /proc/PID/stat.

    It is "" if there is no such process, or if it is a zombie.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
