"""A folder has one writer, wherever the other one runs and however it ended."""

import errno
import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.files import folder_lock
from nemotron.files.folder_lock import LOCK, find_holder, sole_writer, wait_until_free


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Look at a folder again soon."""
    monkeypatch.setattr(folder_lock, "LOOK_NEAR_SECONDS", 0.05)


def write_holder(folder: Path, **changed) -> None:
    """Leave the lock of another process, as `changed` from what this one would write."""
    with sole_writer(folder):
        holder = json.loads((folder / ".lock").read_text())
    (folder / ".lock").write_text(json.dumps({**holder, **changed}))


def elsewhere(folder: Path, silent_for: float = 0) -> None:
    """Leave the lock of a process on another node, which has last been heard of so many seconds ago."""
    write_holder(folder, host="node7", pid=1, job="4711", machine="another boot", birth="1")
    heard = time.time() - silent_for
    os.utime(folder / ".lock", (heard, heard))


def test_a_second_writer_is_refused_with_the_first(tmp_path):
    second = f"from nemotron.files.folder_lock import *\nwith sole_writer(Path({str(tmp_path)!r})): pass"
    with sole_writer(tmp_path):
        done = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert f"process {os.getpid()} on " in done.stderr
        with pytest.raises(UserError), sole_writer(tmp_path):
            pass
    with sole_writer(tmp_path):
        pass


def test_a_dead_process_of_this_machine_keeps_nothing(tmp_path):
    write_holder(tmp_path, birth="1")  # the pid has been given to another process
    assert find_holder(tmp_path) is None
    with sole_writer(tmp_path):
        pass


def test_a_dead_process_that_nobody_has_waited_for_is_dead(tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    while (state := Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split())[0] != "Z":
        time.sleep(0.01)
    try:
        write_holder(tmp_path, pid=child, birth=state[19])
        assert find_holder(tmp_path) is None
    finally:
        os.waitpid(child, 0)


def test_a_dead_holder_keeps_nothing_through_a_process_it_left_behind(tmp_path):
    """Such as a worker of a data loader: it has the lock of the operating system, by inheritance."""
    first = (
        "import os, signal, time\nfrom nemotron.files.folder_lock import *\n"
        f"with sole_writer(Path({str(tmp_path)!r})):\n"
        "    if os.fork() == 0:\n        time.sleep(20)\n        os._exit(0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", first], check=False)
    with sole_writer(tmp_path):
        pass


def test_a_live_process_on_another_node_is_heard(tmp_path, monkeypatch):
    elsewhere(tmp_path)
    assert "process 1 of job 4711 on node7" in str(find_holder(tmp_path))
    heard = iter([100.0, 100.0, 105.0])
    monkeypatch.setattr(folder_lock, "_heard", lambda folder: next(heard))
    monkeypatch.setattr(folder_lock, "_clock_of", lambda folder: 102.0)
    with pytest.raises(UserError, match="job 4711 on node7"), sole_writer(tmp_path):
        pass


def test_a_process_of_this_number_elsewhere_is_another_one(tmp_path):
    for machine, is_held in (({}, False), ({"host": "node7", "machine": "another boot"}, True)):
        folder = tmp_path / str(is_held)
        write_holder(folder, **machine)
        assert (find_holder(folder) is not None) is is_held


@pytest.mark.parametrize(("silent", "is_held"), [(29.0, True), (30.0, True), (31.0, False)])
def test_silence_is_borne_as_long_as_the_limit(tmp_path, monkeypatch, silent, is_held):
    monkeypatch.setattr(folder_lock, "SILENCE_SECONDS", 30.0)
    elsewhere(tmp_path)
    monkeypatch.setattr(folder_lock, "_heard", lambda folder: 100.0)
    monkeypatch.setattr(folder_lock, "_clock_of", lambda folder: 100.0 + silent)
    assert (find_holder(tmp_path) is not None) is is_held


def test_a_node_that_is_silent_has_lost_the_folder(tmp_path):
    elsewhere(tmp_path, silent_for=60)
    assert find_holder(tmp_path) is None
    with sole_writer(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"process 12 on node1 since 2026-01-01 00:00 UTC", b"\0\0", b"{}"])
def test_a_lock_file_that_names_nobody_is_free(tmp_path, content):
    (tmp_path / ".lock").write_bytes(content)
    assert find_holder(tmp_path) is None
    with sole_writer(tmp_path):
        pass


def test_a_lock_file_may_seem_larger_than_the_memory(tmp_path):
    (tmp_path / LOCK).touch()
    os.truncate(tmp_path / LOCK, 30 * 2**30)
    assert find_holder(tmp_path) is None
    with sole_writer(tmp_path):
        assert (tmp_path / LOCK).stat().st_size < 1000


def test_others_wait_until_the_holder_lets_go(tmp_path):
    done = tmp_path / "done"
    first = (
        "import time\nfrom nemotron.files.folder_lock import *\n"
        f"with sole_writer(Path({str(tmp_path)!r})):\n    print(flush=True)\n    time.sleep(0.5)\n"
        f"    Path({str(done)!r}).touch()"
    )
    with subprocess.Popen([sys.executable, "-c", first], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert str(wait_until_free(tmp_path, 0)).startswith(f"process {holder.pid} on ")  # out of patience
        assert wait_until_free(tmp_path, 60) is None
        assert done.exists()


def test_nobody_waits_for_a_dead_holder(tmp_path, monkeypatch):
    assert wait_until_free(tmp_path / "new", 60) is None
    write_holder(tmp_path, birth="1")
    assert wait_until_free(tmp_path, 60) is None
    elsewhere(tmp_path, silent_for=60)
    assert wait_until_free(tmp_path, 60) is None


def test_one_failed_look_does_not_end_the_wait(tmp_path, monkeypatch):
    elsewhere(tmp_path)
    holder = find_holder(tmp_path)
    looks = [None, holder, None, holder, None, None]
    monkeypatch.setattr(folder_lock, "find_holder", lambda folder: looks.pop(0))
    monkeypatch.setattr(folder_lock, "LOOK_FAR_SECONDS", 0)
    assert wait_until_free(tmp_path, 60) is None
    assert looks == []


@pytest.mark.parametrize(("then", "found"), [("the same", None), (None, None), ("another", "another")])
def test_a_lock_that_outlives_its_holder_is_free_unless_somebody_took_it_meanwhile(monkeypatch, tmp_path, then, found):
    """A child of the dead holder may keep it, or a process that came just before us."""
    reads = iter(["the same", then])
    monkeypatch.setattr(folder_lock, "_lock", lambda file: False)
    monkeypatch.setattr(folder_lock, "_read", lambda file: next(reads))
    monkeypatch.setattr(folder_lock, "_is_alive", lambda folder, holder, silence: False)
    monkeypatch.setattr(folder_lock.time, "sleep", lambda seconds: None)
    assert folder_lock._find_other(tmp_path, io.BytesIO()) == found


@pytest.mark.parametrize(
    ("number", "is_locked"),
    [(errno.ENOLCK, True), (errno.ENOSYS, True), (errno.EOPNOTSUPP, True), (errno.EINVAL, True), (errno.EAGAIN, False)],
)
def test_a_file_system_without_locks_is_written_to_by_the_record_alone(monkeypatch, number, is_locked):
    def flock(file, operation):
        raise OSError(number, "")

    monkeypatch.setattr(folder_lock.fcntl, "flock", flock)
    assert folder_lock._lock(io.BytesIO()) is is_locked
    monkeypatch.setattr(folder_lock.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        folder_lock._lock(io.BytesIO())


def test_the_record_says_who_where_and_since_when(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    with sole_writer(tmp_path):
        record = json.loads((tmp_path / LOCK).read_text())
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    born = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert record.pop("started").endswith(" UTC")
    assert len(bytes.fromhex(record.pop("token"))) == 8
    assert record == {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": "4711",
        "machine": f"{boot} {os.readlink('/proc/self/ns/pid')}",
        "birth": born,
    }
    assert (tmp_path / LOCK).read_bytes() == b""


@pytest.mark.parametrize(("job", "shown"), [("4711", "process 5 of job 4711 on node7"), (None, "process 5 on node7")])
def test_a_holder_is_named_with_its_job(job, shown):
    assert str(folder_lock.Holder("t", "node7", 5, "noon", job)) == f"{shown} since noon"


def test_this_process_holds_nothing_against_itself(tmp_path):
    with sole_writer(tmp_path):
        assert find_holder(tmp_path) is None
    assert find_holder(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("stat", "birth"),
    [
        (b"5 (a name) R" + b" 0" * 18 + b" 777 0", "777"),
        (b"5 (of ) R \xff) S" + b" 0" * 18 + b" 777 0", "777"),  # a process may call itself anything
        (b"5 (a) Z" + b" 0" * 18 + b" 777 0", ""),
        (b"5 (a) X" + b" 0" * 18 + b" 777 0", ""),
        (None, ""),
    ],
)
def test_a_process_was_born_when_the_system_says(tmp_path, monkeypatch, stat, birth):
    if stat is not None:
        (tmp_path / "proc/5").mkdir(parents=True)
        (tmp_path / "proc/5/stat").write_bytes(stat)
    monkeypatch.setattr(folder_lock, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert folder_lock._birth(5) == birth


def test_without_proc_the_machine_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert folder_lock._machine() == ""


def test_the_clock_is_that_of_the_folder_or_of_this_machine_where_it_cannot_be_asked(tmp_path, monkeypatch):
    before = time.time()
    assert folder_lock._clock_of(tmp_path) == pytest.approx(before, abs=5)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(folder_lock.time, "time", lambda: 7.0)
    assert folder_lock._clock_of(tmp_path / "missing") == 7.0


def test_a_holder_is_heard_while_it_holds_the_folder(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(folder_lock, "_beat", lambda file, stop: heard.append((Path(file.name), stop.wait(60))))
    with sole_writer(tmp_path):
        assert heard == []
    assert heard == [(tmp_path / LOCK, True)]


def test_a_locked_file_that_names_nobody_yet_is_held_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "_lock", lambda file: False)
    with pytest.raises(UserError, match="another process"), sole_writer(tmp_path):
        pass


def test_the_holder_is_heard_every_few_seconds(tmp_path, monkeypatch):
    class Stop:
        def __init__(self):
            self.waited = []

        def wait(self, seconds):
            self.waited.append(seconds)
            return len(self.waited) == 3

    touched, stop = [], Stop()
    monkeypatch.setattr(folder_lock.os, "utime", touched.append)
    with (tmp_path / "lock").open("wb") as file:
        folder_lock._beat(file, stop)
        assert touched == [file.fileno()] * 2
    assert stop.waited == [folder_lock.HEARTBEAT_SECONDS] * 3
    assert folder_lock.HEARTBEAT_SECONDS * 5 < folder_lock.SILENCE_SECONDS  # it may be missed a few times


def test_a_node_is_listened_to_for_what_is_left_of_the_silence(tmp_path, monkeypatch):
    """Heard 40 s ago, of 45 s: 5 s of listening, five times a second."""
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    elsewhere(tmp_path)
    monkeypatch.setattr(folder_lock, "SILENCE_SECONDS", 45.0)
    monkeypatch.setattr(folder_lock, "_heard", lambda folder: 100.0)
    monkeypatch.setattr(folder_lock, "_clock_of", lambda folder: 140.0)
    monkeypatch.setattr(folder_lock.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(folder_lock.time, "sleep", sleep)
    with sole_writer(tmp_path):
        pass
    assert sum(slept) == pytest.approx(5, abs=0.3)
    assert set(slept) == {0.2}


def test_a_holder_on_another_node_is_looked_at_less_often(tmp_path, monkeypatch):
    here, there = (
        folder_lock.Holder("t", "h", 1, "noon", machine=machine) for machine in (folder_lock._machine(), "another boot")
    )
    looks, slept = [here, there, None, None], []
    monkeypatch.setattr(folder_lock, "find_holder", lambda folder: looks.pop(0))
    monkeypatch.setattr(folder_lock.time, "sleep", slept.append)
    assert wait_until_free(tmp_path, 60) is None
    assert slept == [0.05, folder_lock.LOOK_FAR_SECONDS, folder_lock.LOOK_FAR_SECONDS]
