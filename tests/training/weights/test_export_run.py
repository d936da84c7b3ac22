"""While the first rank exports, the other nodes of a job stay, whatever torchrun's own patience is."""

import socket
import subprocess
import sys

import pytest

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
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData

folder = Path(sys.argv[1])

def train(*arguments, **options):
    started = folder / "started"
    if os.environ["RANK"] == "0":
        started.touch()
        time.sleep(4)
        (folder / "exported").touch()
    while not started.exists():  # training ends with a barrier
        time.sleep(0.1)
    return SimpleNamespace(stopped=False, validation=[], test=[])

data, plan = PreparedData("mine", folder, {"train": 1}), SimpleNamespace(train_iters=0)
run.find_data, run.check_inputs, run.check_machine = lambda *_: (data, []), lambda *_: (plan, []), lambda *_: []
run.choose_backend, run._train = lambda asked: Backend("cpu", gpu=False, missing=()), train
run.train(load_config("tiny", [f"run.output_dir={folder}/run"], schema=SftConfig))
print("rank", os.environ["RANK"], "left after the export:", (folder / "exported").exists())
"""


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
