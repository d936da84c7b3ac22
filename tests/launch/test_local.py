"""Launching on this machine without a profile."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nemotron.exit_codes import STOPPED
from nemotron.launch import count_gpus, count_processes, torchrun
from nemotron.launch.local import run_to_end
from nemotron.launch.stages import PACKAGE, TORCHRUN


@pytest.fixture(autouse=True)
def no_torchrun_above(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.mark.parametrize(("gpus", "processes"), [(0, 1), (1, 1), (4, 4)])
def test_one_process_per_gpu(monkeypatch: pytest.MonkeyPatch, gpus: int, processes: int):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert count_processes("auto") == processes


def test_a_number_is_taken_as_it_is():
    assert count_processes(2) == 2


def test_inside_a_torchrun_there_is_nothing_more_to_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert count_processes(8) == 1


def test_torchrun_gets_the_script_and_the_arguments_as_typed(
    monkeypatch: pytest.MonkeyPatch, fake_python: Path, tmp_path: Path
):
    monkeypatch.setattr(sys, "executable", str(fake_python))
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("CODE", "7")
    assert torchrun(["--config", "tiny", "train.train_iters=5"], 2) == 7
    arguments = (tmp_path / "record").read_text().split("\0")[0]
    assert arguments.startswith(f"{PACKAGE / TORCHRUN} --standalone --nproc-per-node=2 ")
    assert arguments.endswith("stage1_sft/train.py --config tiny train.train_iters=5")


@pytest.fixture
def heeded(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal that this process does not ignore, as it does under nohup; a shell cannot trap one that it ignores."""
    before = signal.getsignal(request.param)
    signal.signal(request.param, signal.default_int_handler if request.param == signal.SIGINT else signal.SIG_DFL)
    yield request.param
    signal.signal(request.param, before)


@pytest.mark.parametrize("heeded", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], indirect=True)
def test_signals_are_handed_to_what_runs_the_training_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, heeded: int
):
    runs, name = tmp_path / "runs", signal.Signals(heeded).name[3:]
    trap = f"trap 'touch signalled; exit {STOPPED}' {name}"
    runs.write_text(f"#!/bin/sh\ncd {tmp_path}\n{trap}; touch ready; while :; do sleep 0.02; done\n")
    runs.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(runs))

    def stop_once_it_trains():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), heeded)

    threading.Thread(target=stop_once_it_trains, daemon=True).start()
    assert torchrun([], 2) == STOPPED
    assert (tmp_path / "signalled").exists()


@pytest.mark.parametrize("heeded", [signal.SIGTERM], indirect=True)
def test_a_signal_that_comes_while_the_command_starts_reaches_it(monkeypatch: pytest.MonkeyPatch, heeded: int):
    start = subprocess.Popen

    def start_late(*arguments, **options):
        os.kill(os.getpid(), heeded)
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", start_late)
    assert run_to_end(["sleep", "60"]) == 128 + heeded


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_to_end(["sh", "-c", "kill -HUP $PPID"]) == 0  # this process, which lives on
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminals_ctrl_c_reaches_the_command_once_and_only_through_this_process(tmp_path: Path):
    """It is in a process group of its own: the terminal's own signal does not count as a second one."""
    assert run_to_end(["sh", "-c", f'test "$(ps -o pgid= -p $$ | tr -d " ")" = $$ && touch {tmp_path}/alone']) == 0
    assert (tmp_path / "alone").exists()


def test_a_command_that_a_signal_ended_has_a_shells_exit_code():
    assert run_to_end(["sh", "-c", "kill -KILL $$"]) == 128 + signal.SIGKILL


@pytest.mark.parametrize(("visible", "gpus"), [("0,1", 2), ("", 0), ("-1", 0), ("GPU-8f4c", 1)])
def test_a_dry_run_counts_gpus_without_torch(monkeypatch: pytest.MonkeyPatch, visible: str, gpus: int):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == gpus
