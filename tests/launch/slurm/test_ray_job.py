"""A Ray cluster that a job brings along: its nodes find each other, do the work, and end with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nemotron.launch.stages import PACKAGE, RAY_NODE

pytest.importorskip("ray")

# Says how many nodes the cluster has once there are two, and what opened it.
COUNT_NODES = """
import os, time, ray
ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
while len(ray.nodes()) < 2:
    time.sleep(0.2)
print(len(ray.nodes()), int(ray.cluster_resources()["CPU"]))
raise SystemExit(7)
"""


def test_nodes_form_a_cluster_for_the_length_of_the_stage(tmp_path: Path) -> None:
    """Two nodes on one machine: the second waits for the first, and leaves when it is gone."""
    environment = os.environ | {"RAY_CLUSTER_DIR": str(tmp_path), "MASTER_PORT": "20731", "SLURM_CPUS_ON_NODE": "1"}
    node = [sys.executable, str(PACKAGE / RAY_NODE), sys.executable, "-c", COUNT_NODES]
    nodes = [
        subprocess.Popen(node, env=environment | {"SLURM_NODEID": str(number)}, stdout=subprocess.PIPE, text=True)
        for number in (1, 0)
    ]
    said, code = zip(*((process.communicate()[0], process.returncode) for process in nodes), strict=True)
    assert said == ("", "2 2\n")
    assert code == (0, 7), "the stage's own exit code is the head's"
    assert (tmp_path / "ray_token").stat().st_mode & 0o777 == 0o600


def test_data_prep_on_slurm_with_ray_writes_the_same_bytes(work: Path) -> None:
    def prepare(*arguments: str) -> dict[str, bytes]:
        line = [sys.executable, "-m", "nemotron", "super3", "data", "prep", "sft", "-c", "tiny", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        [folder] = Path(work, "output/tiny/data/runs").iterdir()
        files = sorted((folder / "splits").rglob("*.parquet"))
        assert "Prepared" in done.stdout
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    (work / "env.toml").write_text(f'[here]\nexecutor = "slurm"\npython = {json.dumps(sys.executable)}\n')
    on_ray = prepare("--run", "here", "engine=ray")
    assert prepare("--force") == on_ray
    assert len(on_ray) == 3
