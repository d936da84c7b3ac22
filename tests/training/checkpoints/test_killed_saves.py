"""A run that is killed between two writes of its first save, and of a later one, ends as one that never was."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.megatron

SHORT = ["train.train_iters=6", "train.global_batch_size=4", "checkpoint.save_interval=2"]
KILLED = str(Path(__file__).with_name("killed_in_a_save.py"))


def call(*line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *line], cwd=cwd, capture_output=True, text=True, timeout=900, check=False)


def records(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_any_kill_in_a_save_costs_no_more_than_that_save(tmp_path):
    done = call("-m", "nemotron", "super3", "pipe", "-c", "tiny", *SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sft = ["super3", "sft", "-c", "tiny", *SHORT, "run.output_dir=killed"]
    for write, iteration in (("config", "2"), ("tracker", "4")):
        assert call(KILLED, write, iteration, *sft, cwd=tmp_path).returncode == -signal.SIGKILL
    done = call("-m", "nemotron", *sft, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "iter_0000004" in done.stderr
    assert "Continuing after iteration 2" in done.stderr
    assert records(tmp_path / "killed/metrics.jsonl") == records(tmp_path / "output/tiny/sft/metrics.jsonl")
    set_aside = sorted(path.name for path in (tmp_path / "killed/checkpoints").glob("set_aside_*"))
    assert set_aside == ["set_aside_iter_0000002", "set_aside_iter_0000004"]
