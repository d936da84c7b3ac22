"""While the first rank exports, the other nodes of a job stay, whatever torchrun's own patience is."""

import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.config import ConvertToHfConfig, SftConfig
from nemotron.training.weights import export_run
from nemotron.training.weights.export_run import FinishedRun, Recorded

# torchrun, which gives the agents of other nodes one second instead of 300 once its own ranks have ended.
TORCHRUN = """
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.run import main

stock = LocalElasticAgent.__init__
LocalElasticAgent.__init__ = lambda *args, **options: stock(*args, **{**options, "exit_barrier_timeout": 1})
main()
"""

# A run that has nothing to check or to train, and whose export takes longer than that.
RANK = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from nemotron.config import load_config
from nemotron.training import run
from nemotron.training.backend import Backend
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData

folder = Path(sys.argv[1])

def start(*arguments):
    started = folder / "started"
    if os.environ["RANK"] == "0":
        started.touch()
    while not started.exists():  # training ends with a barrier
        time.sleep(0.1)

def export(output):
    time.sleep(4)
    (folder / "exported").touch()

data, plan = PreparedData("mine", folder, {"train": 1}), SimpleNamespace(train_iters=0, notes=[])
run.find_data, run.check_inputs, run.check_machine = lambda *_: (data, []), lambda *_: (plan, []), lambda *_: []
run.choose_backend = lambda asked: Backend("cpu", gpu=False, missing=())
run.report_start, run.hand_over = start, export  # the last that the first rank does
run.train(load_config("tiny", [f"run.output_dir={folder}/run"], schema=SftConfig))
print("rank", os.environ["RANK"], "left after the export:", (folder / "exported").exists())
"""


def test_a_model_is_recorded_before_it_is_exported(monkeypatch, tmp_path):
    """In case the export fails or is killed."""
    made = []
    monkeypatch.setattr(export_run, "log_model", lambda *arguments: made.append("model") or "model:3")
    monkeypatch.setattr(export_run, "export_run", lambda *arguments: made.append(arguments[-1]) or (tmp_path, "hf:1"))
    for enabled, expected in ((False, Recorded("model:3")), (True, Recorded("model:3", tmp_path, "hf:1"))):
        loaded: Any = SimpleNamespace(config=SftConfig(convert_to_hf=ConvertToHfConfig(enabled=enabled)))
        stand_in: Any = None
        finished = FinishedRun(loaded, stand_in, stand_in, stand_in, Checkpoint(tmp_path), {})
        recorded = export_run.record_model(finished)
        assert recorded == expected
    assert made == ["model", "model", "model:3"]


@pytest.mark.slow
def test_no_node_leaves_before_the_export_is_made(tmp_path):
    (tmp_path / "torchrun.py").write_text(TORCHRUN)
    (tmp_path / "rank.py").write_text(RANK)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [f"--master-port={port}", "--master-addr=127.0.0.1", "--nnodes=2", "--nproc-per-node=1"]
    nodes = [
        subprocess.Popen(
            [
                sys.executable,
                tmp_path / "torchrun.py",
                *arguments,
                f"--node-rank={node}",
                tmp_path / "rank.py",
                tmp_path,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in range(2)
    ]
    said = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert "rank 1 left after the export: True" in said[1]
