"""Jobs over two nodes: the ranks meet, share folders, are shown once, and come back after a node has died."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nemotron.launch import Job, JobState, Stage, follow, place, submit
from nemotron.launch.stages import TRAIN_SCRIPT

SFT = Stage("sft", TRAIN_SCRIPT, {"seed": 1}, "tiny", distributed=True)

MEETS = """
import os, pathlib
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank()])
dist.all_reduce(total)
pathlib.Path(f"rank-{dist.get_rank()}-on-{os.environ['SLURM_NODEID']}").touch()
dist.barrier()
if dist.get_rank() == 0:
    print(f"{dist.get_world_size()} ranks, sum {total.item()}, {len(list(pathlib.Path().glob('rank-*')))} files")
"""


@pytest.fixture(autouse=True)
def two_nodes() -> str:
    """The name of the second of two nodes, or a skip."""
    listed = subprocess.run(["sinfo", "-h", "-N", "-o", "%N"], capture_output=True, text=True, check=True).stdout
    if len(names := sorted(set(listed.split()))) < 2:
        pytest.skip("this Slurm has one node; .ci/slurm-up starts two")
    return names[1]


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_ranks_of_two_nodes_meet_and_share_the_folder(profile, work: Path):
    (work / "meets.py").write_text(MEETS)
    body = f'exec {sys.executable} "${{@/%*train.py/{work}/meets.py}}"'
    here = profile({"sft": body}, "nodes = 2", "ntasks_per_node = 2")
    output: list[str] = []
    assert follow(submit(place([SFT], here, attached=True)), on_output=output.append, interval=0.5) == 0
    assert "4 ranks, sum 6, 4 files" in "".join(output).splitlines()  # torchrun may log after it
    files = sorted(path.name for path in work.glob("rank-*"))
    assert files == ["rank-0-on-0", "rank-1-on-0", "rank-2-on-1", "rank-3-on-1"]


def test_a_rank_that_fails_ends_the_job_on_both_nodes(profile):
    here = profile({"sft": '[ "$SLURM_NODEID" = 1 ] && exit 9; sleep 300'}, "nodes = 2")
    assert follow(submit(place([SFT], here, attached=True)), on_output=str, interval=0.5) == 9


def opened_by(process: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):  # it has ended
        return [os.readlink(file) for file in Path(f"/proc/{process}/fd").iterdir()]
    return []


def processes_of(node: str) -> list[int]:
    """The daemon of a node, what it started for the steps of jobs, and all that these started.

    The nodes are on one machine; only their logs tell their processes apart.
    """
    shown = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True).stdout
    log = next(line.split()[-1] for line in shown.splitlines() if line.startswith("SlurmdLogFile")).replace("%n", node)
    listed = subprocess.run(["pgrep", "slurmd|slurmstepd"], capture_output=True, text=True, check=False).stdout.split()
    found = [int(process) for process in listed if log in opened_by(process)]
    for process in found:  # grows
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def lose(node: str) -> None:
    """Let a node die as in a power cut: nothing of it says a last word, neither to the controller nor to srun."""
    lost = processes_of(node)
    for process in lost:
        os.kill(process, signal.SIGSTOP)
    # The controller would find out in five minutes.
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=down", "reason=test"], check=True)
    for process in lost:
        os.kill(process, signal.SIGKILL)


def test_a_job_whose_node_has_died_is_run_again(profile, work: Path, two_nodes: str):
    """Slurm requeues it; its second log is followed like the first."""
    if not processes_of(two_nodes):
        pytest.skip("the second node is another machine")
    body = """
        if [ "${SLURM_RESTART_COUNT:-0}" = 0 ]; then echo first; touch "up-$SLURM_NODEID"; sleep 300; fi
        [ "$SLURM_NODEID" != 0 ] || echo "again on $SLURM_JOB_NUM_NODES nodes with ${#HF_TOKEN}"
    """
    here = profile({"sft": body}, "nodes = 2", 'env_vars = { HF_TOKEN = "s3cret" }')
    submission = submit(place([SFT], here, attached=True))
    wait_for(lambda: len(list(work.glob("up-*"))) == 2)
    try:
        lose(two_nodes)
    finally:
        subprocess.run(["slurmd", "-N", two_nodes], check=True)

    # The controller holds a requeued job back for two minutes; a person may let it go earlier, but not in the second in
    # which its first run was revoked on the node that lives: the second run would be taken for it there.
    time.sleep(3)

    def runs_again() -> bool:
        command = ["scontrol", "update", f"jobid={submission.jobs[0].id}", "starttime=now"]
        subprocess.run(command, capture_output=True, check=False)
        return any("again on" in log.read_text() for log in work.rglob("log-*.out"))

    wait_for(runs_again, 180)
    output: list[str] = []
    states: list[str] = []

    def on_state(job: Job, state: JobState) -> None:
        states.append(state.name)

    assert follow(submission, on_output=output.append, on_state=on_state, interval=0.5) == 0
    lines = [line for line in "".join(output).splitlines() if not line.startswith("slurmstepd")]
    assert lines == ["first", "first", "again on 2 nodes with 6"]
    assert states[-1] == "COMPLETED"
    assert not list(work.rglob("*.secrets"))


@pytest.mark.megatron
def test_pipe_on_two_nodes_trains_on_shared_data_and_exports(work: Path):
    (work / "env.toml").write_text('[two]\nexecutor = "slurm"\nnodes = 2\nntasks_per_node = 1\n')
    settings = ["run.nproc_per_node=auto", "train.train_iters=2", "convert_to_hf.enabled=true"]
    command = [sys.executable, "-m", "nemotron", "super3", "pipe", "-c", "tiny", "--run", "two", *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for once in ("Prepared", "Fine-tuned", "Training: 2 of 2 iterations", "Training with tiny.yaml"):
        assert sum(line.startswith(once) for line in lines) == 1, (once, done.stdout)
    assert (work / "output/tiny/sft/hf/config.json").is_file()
