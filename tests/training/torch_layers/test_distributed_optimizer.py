"""The distributed optimizer around torch's Adam, as on a GPU without Transformer Engine: a stopped run goes on as if
it had not been stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nemotron.exit_codes import STOPPED

pytestmark = pytest.mark.megatron

SCRIPT = Path(__file__).with_name("train_with_distributed_optimizer.py")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed_optimizer")
    prep = ["super3", "data", "prep", "sft", "-c", "tiny", "--sample", "20"]
    subprocess.run([sys.executable, "-m", "nemotron", *prep], cwd=folder, check=True, capture_output=True)
    return folder


def train(workdir, output, *settings, code=0):
    """Train for six iterations, or as `settings` say. Returns Megatron's log; the run must end with `code`."""
    command = [sys.executable, str(SCRIPT), "--config", "tiny", f"run.output_dir={output}", "train.train_iters=6",
               "run.data=output/tiny/data/sample-20/splits", "train.global_batch_size=2", "scheduler.lr_warmup_iters=0",
               *settings]  # fmt: skip
    done = subprocess.run(
        command, cwd=workdir, env={**os.environ, "WORLD_SIZE": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


def records(folder):
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [{**record, "seconds": None} for record in lines]


def test_a_stopped_run_goes_on_to_the_same_numbers(workdir):
    log = train(workdir, "whole")
    assert "use_distributed_optimizer=True" in log
    train(workdir, "parts", "train.exit_interval=3", code=STOPPED)
    assert len(records(workdir / "parts")) == 3
    train(workdir, "parts")
    assert records(workdir / "parts") == records(workdir / "whole")
