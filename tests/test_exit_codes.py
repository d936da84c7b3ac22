"""Signals end the command with a line, also before a command handles them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nemotron.exit_codes import end_on_sigterm


@pytest.fixture
def sigterm():
    """SIGTERM as a process begins with it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_said_and_has_its_exit_code(sigterm, monkeypatch, capfd):
    monkeypatch.delenv("RANK", raising=False)
    end_on_sigterm()
    with pytest.raises(SystemExit) as end:
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 143
    assert capfd.readouterr().err == "\nTerminated.\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second one does not wait


def test_a_forked_worker_ends_as_if_nobody_handled_it(sigterm, monkeypatch, capfd):
    monkeypatch.delenv("RANK", raising=False)
    end_on_sigterm()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    sent = []
    monkeypatch.setattr(os, "kill", lambda *arguments: sent.append(arguments))
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    assert sent == [(-1, signal.SIGTERM)]


def test_ranks_and_what_is_ignored_are_left_alone(sigterm, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    end_on_sigterm()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    monkeypatch.delenv("RANK")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_on_sigterm()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code", "line"), [(15, 143, "Terminated."), (2, 130, "Interrupted.")])
def test_a_signal_while_the_command_is_imported_ends_in_a_line(tmp_path, signum, code, line):
    (tmp_path / "typer.py").write_text("import time; print('importing', flush=True); time.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    environment.pop("RANK", None)  # of a test before this one: ranks leave SIGTERM to their launcher
    command = [sys.executable, "-m", "nemotron", "--help"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        time.sleep(0.05)
        process.send_signal(signum)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (code, f"\n{line}\n")
