"""torchrun as jobs start it: the real one, around a script that trains nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nemotron.exit_codes import INTERRUPTED, STOPPED, TERMINATED
from nemotron.launch.stages import PACKAGE, TORCHRUN

pytestmark = pytest.mark.slow

TRAINS = """
import os, pathlib, signal, sys, time

signal.signal(signal.SIGTERM, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    sys.exit("Ctrl-C would reach the ranks twice")
me = os.environ["RANK"]
pathlib.Path("starts-" + me).touch()
if "--slow-start" in sys.argv:
    time.sleep(120)

def save(signum, frame):
    time.sleep(1)
    pathlib.Path("saved-" + me).touch()
    if me == "0" and "--finished" not in sys.argv:
        pathlib.Path(os.environ["NEMOTRON_STOPPED_MARK"]).touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
pathlib.Path("trains-" + me).touch()
time.sleep(120)
"""


@pytest.fixture
def ranks(tmp_path: Path):
    """ranks('trains') starts two ranks, waits until both have left this file, and signals them as asked."""
    (tmp_path / "trains.py").write_text(TRAINS)
    running = []

    def start(until: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(PACKAGE / TORCHRUN), "--standalone", "--nproc-per-node=2", "trains.py"]
        process = subprocess.Popen([*command, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        running.append(process)
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob(f"{until}-*"))) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("saved-*"))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_this_process_alone_lets_the_ranks_save_and_has_a_code_of_its_own(ranks, tmp_path: Path, signum):
    process = ranks("trains")
    process.send_signal(signum)
    assert process.wait(60) == STOPPED, process.communicate()
    assert saved(tmp_path) == ["saved-0", "saved-1"]


def test_ranks_that_have_nothing_left_to_do_end_with_success(ranks):
    process = ranks("trains", "--finished")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, process.communicate()


def test_a_second_interrupt_ends_them_at_once(ranks, tmp_path: Path):
    process = ranks("trains")
    process.send_signal(signal.SIGINT)
    while "press again to quit now" not in process.stderr.readline():  # torchrun has something to say, too
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == INTERRUPTED
    assert "Traceback" not in process.stderr.read()
    assert saved(tmp_path) == []


def test_sigterm_to_every_process_at_once_is_the_same(ranks, tmp_path: Path):
    process = ranks("trains")
    [torchrun] = children(process.pid)
    for pid in (torchrun, process.pid, *children(torchrun)):
        os.kill(pid, signal.SIGTERM)
    assert process.wait(60) == STOPPED, process.communicate()
    assert saved(tmp_path) == ["saved-0", "saved-1"]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, TERMINATED), (signal.SIGINT, INTERRUPTED)])
def test_before_there_is_anything_to_save_a_signal_ends_the_job(ranks, tmp_path: Path, signum, code):
    process = ranks("starts", "--slow-start")
    process.send_signal(signum)
    assert process.wait(60) == code
    assert saved(tmp_path) == []


def children(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split() if Path(f"/proc/{line}").exists()]
