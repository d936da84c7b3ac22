"""A Ray cluster that a job over two nodes brings along: they find each other, do the work, and end with it."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from nemotron.launch import Stage, follow, place, submit
from nemotron.launch.stages import PREP_SCRIPT

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")

# Says how many nodes the cluster has once there are two, and what opened it.
COUNT_NODES = """
import os, time, ray
ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
while len(ray.nodes()) < 2:
    time.sleep(0.2)
print(f'counted {len(ray.nodes())} nodes, {int(ray.cluster_resources()["CPU"])} cores')
raise SystemExit(7)
"""


def test_two_nodes_of_a_job_form_a_cluster_for_the_length_of_the_stage(profile, work: Path) -> None:
    """The stage runs once, on the first node, with the cores of both; its exit code is the job's."""
    body = f"""
        [[ $1 == */ray_node.py ]] && exec {sys.executable} "$@"
        exec {sys.executable} {work}/count.py
    """
    (work / "count.py").write_text(COUNT_NODES)
    stage = Stage("prep", PREP_SCRIPT, {}, "tiny", distributed=False, ray=True)
    output: list[str] = []
    submission = submit(place([stage], profile({"prep": body}, "nodes = 2", "cpus_per_task = 1"), attached=True))
    assert follow(submission, on_output=output.append, interval=0.5) == 7
    counted = [line for line in "".join(output).splitlines() if line.startswith("counted")]
    assert counted == ["counted 2 nodes, 2 cores"]
    assert (Path(submission.jobs[0].folder) / "ray_token").stat().st_mode & 0o777 == 0o600


def test_data_prep_on_slurm_with_ray_writes_the_same_bytes(work: Path) -> None:
    def prepare(*arguments: str) -> dict[str, bytes]:
        line = [sys.executable, "-m", "nemotron", "super3", "data", "prep", "sft", "-c", "tiny", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        [folder] = Path(work, "output/tiny/data/runs").iterdir()
        files = sorted((folder / "splits").rglob("*.parquet"))
        assert "Prepared" in done.stdout
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    (work / "env.toml").write_text(f'[here]\nexecutor = "slurm"\nnodes = 2\npython = {json.dumps(sys.executable)}\n')
    on_ray = prepare("--run", "here", "engine=ray")
    assert prepare("--force") == on_ray
    assert len(on_ray) == 3
