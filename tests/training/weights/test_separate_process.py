"""The process in which Megatron converts: how it fails, and how it ends with the process that waits for it."""

import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.errors import UserError
from nemotron.training.weights import separate_process as module
from nemotron.training.weights.separate_process import run_module, separate_process

LINES = "\n".join(f"line {number}" for number in range(20))


class Process:
    """Stands in for Popen: a process that ends with a code and an output, or is interrupted."""

    code, output, interrupted = 0, LINES, False
    last: "Process"

    def __init__(self, command, **_):
        self.command, self.returncode, self.calls = command, self.code, []
        type(self).last = self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def communicate(self):
        if self.interrupted:
            raise KeyboardInterrupt
        return self.output, "\nthe last\n\n"

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


@pytest.fixture
def process(monkeypatch):
    """What the next process does, set as attributes."""
    kind = type("Next", (Process,), {})
    monkeypatch.setattr(subprocess, "Popen", kind)
    return kind


@pytest.mark.parametrize("code", [1, -9])
def test_a_process_that_fails_shows_the_end_of_its_output(process, code):
    process.code = code
    with pytest.raises(UserError) as error:
        run_module("a.module", ["x", "y"], "Exporting it", Path("out"))
    assert error.value.message.splitlines() == [
        "Exporting it failed.",
        *(f"line {number}" for number in range(6, 20)),
        "the last",
    ]
    assert "python -m a.module x y" in str(error.value.hint)
    assert process.last.command == [sys.executable, "-m", "a.module", "x", "y"]


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 28] No space left on device: '/models/mine'",
        "OSError: [Errno 122] Disk quota exceeded: '/models/mine'",
        "safetensors_rust.SafetensorError: Error while serializing: I/O error: ... (os error 28)",
        "RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0",
    ],
)
def test_a_full_disk_is_one_sentence_with_the_folder_and_the_bytes(process, monkeypatch, tmp_path, line):
    process.code, process.output = 1, f"Traceback (most recent call last):\n{line}\n"
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1234 if folder == tmp_path else 0))
    with pytest.raises(UserError) as error:
        run_module("a.module", [], "Exporting it", tmp_path / "new/hf", 6_000_000)
    assert error.value.message == (
        f"Exporting it failed, because the disk of {tmp_path}/new/hf is full: "
        "it needs about 6,000,000 bytes, and 1,234 are free."
    )


def test_a_process_that_succeeds_says_nothing(process):
    run_module("a.module", ["x", "y"], "Exporting it", Path("out"))
    assert process.last.calls == []


def test_an_interruption_lets_the_process_clean_up_first(process):
    process.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        run_module("a.module", [], "Exporting it", Path("out"))
    assert process.last.calls == ["terminate", "wait", "kill"]


def test_what_the_process_refuses_is_raised_as_it_was(process, monkeypatch, capsys):
    """Torch wraps what is raised while it loads a checkpoint."""

    class CheckpointException(BaseException):
        failures = {3: (UserError("x.distcp is damaged.", "Get it again."), None)}  # noqa: RUF012

    monkeypatch.setenv("NEMOTRON_PARENT", str(os.getppid()))
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: type("C", (), {"prctl": print}))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match=r"x\.distcp is damaged\. Get it again\."), separate_process():
        raise CheckpointException
    assert signal.getsignal(signal.SIGTERM) is before
    process.code, process.output = 1, f"Loading\n{capsys.readouterr().out}and a traceback"
    with pytest.raises(UserError) as error:
        run_module("a.module", [], "Exporting it", Path("out"))
    assert (error.value.message, error.value.hint) == ("x.distcp is damaged.", "Get it again.")


@pytest.fixture
def asked(monkeypatch):
    """What the process asks of Linux, which is not told; and its own way to end is put back."""
    calls = []
    library = SimpleNamespace(prctl=lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: library)
    before = signal.getsignal(signal.SIGTERM)
    yield calls
    signal.signal(signal.SIGTERM, before)


def test_the_process_asks_to_be_ended_with_the_one_that_waits_for_it(asked, monkeypatch):
    """prctl(2): PR_SET_PDEATHSIG is 1. Its own children are not meant by the variable."""
    monkeypatch.setenv("NEMOTRON_PARENT", str(os.getppid()))
    with separate_process():
        assert "NEMOTRON_PARENT" not in os.environ
    assert asked == [(1, signal.SIGTERM)]


def test_a_process_whose_parent_died_before_it_asked_ends(asked, monkeypatch):
    monkeypatch.setenv("NEMOTRON_PARENT", str(os.getppid() + 1))
    with pytest.raises(SystemExit) as ended, separate_process():
        raise AssertionError("it went on")
    assert ended.value.code == 143


def test_sigterm_ends_the_process_once_so_that_it_can_clean_up(asked, monkeypatch):
    monkeypatch.delenv("NEMOTRON_PARENT", raising=False)
    before, steps = signal.getsignal(signal.SIGTERM), []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # a second one, while it removes what it has begun
            steps.append("cleaned up")

    with pytest.raises(SystemExit) as ended, separate_process():
        work()
    assert (ended.value.code, steps, asked) == (143, ["cleaned up"], [])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_refusal_that_nobody_waits_for_is_the_last_line(asked, monkeypatch, capsys):
    monkeypatch.delenv("NEMOTRON_PARENT", raising=False)
    with pytest.raises(SystemExit, match=r"No model\. Name one\."), separate_process():
        raise UserError("No model.", "Name one.")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["import_hf", "export_hf", "export_adapter", "random_init"])
def test_each_module_that_runs_as_a_process_says_how(name, monkeypatch, capsys):
    """`python -m` of it without arguments."""
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(Path(module.__file__).with_name(f"{name}.py")), run_name="__main__")
    assert ended.value.code == 2
    assert f"usage: python -m nemotron.training.weights.{name} " in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.delenv("NEMOTRON_PARENT", raising=False)
    with pytest.raises(ZeroDivisionError), separate_process():
        raise ZeroDivisionError


SLEEPER = """
import sys, time
from pathlib import Path
from nemotron.training.weights.separate_process import separate_process
with separate_process():
    begun = Path(sys.argv[1])
    begun.touch()
    try:
        time.sleep(600)
    finally:
        begun.unlink()
"""
PARENT = """
import pathlib
import sys
from nemotron.training.weights.separate_process import run_module
run_module("sleeper", sys.argv[1:], "It", pathlib.Path("out"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_and_cleans_up_when_its_parent_is_killed(tmp_path, signum):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    begun = tmp_path / "begun"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, begun], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not begun.exists():
        assert parent.poll() is None
        time.sleep(0.01)
    parent.send_signal(signum)
    parent.wait()
    while begun.exists():
        time.sleep(0.01)
