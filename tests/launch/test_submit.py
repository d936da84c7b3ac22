"""Submitting: to this machine for real, to a cluster as far as its answers go (tests/launch/slurm has a real one)."""

import os
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.launch import LaunchError, follow, place, submit
from nemotron.launch.submit import _slurm_id

COMMANDS = {
    # Accepts the first job and refuses the second, as Slurm words it.
    "sbatch": 'echo "$0 $*" >> "$CALLS"; [ "$(grep -c sbatch "$CALLS")" = 1 ] && echo 41 && exit 0\n'
    'echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1',
    "srun": 'echo "Usage: srun [OPTIONS(0)...] [executable [args...]]"',
    "scancel": 'echo "scancel $*" >> "$CALLS"',
}


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_a_local_profile_runs_the_stages_in_order(profile, prep, sft, fake_python: Path, tmp_path: Path):
    here = profile(
        f'python = "{fake_python}"',
        "gpus_per_node = 2",
        "[here.prep]",
        f'env_vars = {{ RECORD = "{tmp_path}/prep", HF_TOKEN = "s3cret" }}',
        "[here.sft]",
        f'env_vars = {{ RECORD = "{tmp_path}/sft" }}',
        executor="local",
    )
    submission = submit(place([prep, sft], here, attached=True))
    states: list[str] = []
    assert (
        follow(submission, on_output=print, on_state=lambda job, state: states.append(f"{job.stage} {state.name}")) == 0
    )
    assert states == ["prep RUNNING", "prep COMPLETED", "sft RUNNING", "sft COMPLETED"]
    assert (tmp_path / "order").read_text() == "ran prep\nran sft\n"
    assert "--nproc-per-node=2 --standalone" in (tmp_path / "sft").read_text()
    assert "HF_TOKEN=s3cret" in (tmp_path / "prep").read_text()
    assert not any("s3cret" in path.read_text() for path in Path("output").rglob("*.sh"))


def test_a_local_failure_stops_the_rest(profile, prep, sft, fake_python: Path, tmp_path: Path):
    lines = [f'python = "{fake_python}"', f'env_vars = {{ RECORD = "{tmp_path}/stage", CODE = 5 }}']
    submission = submit(place([prep, sft], profile(*lines, executor="local"), attached=True))
    assert follow(submission, on_output=print) == 5
    assert (tmp_path / "order").read_text() == "ran stage\n"


def test_this_machine_takes_no_detached_job(profile, sft):
    with pytest.raises(UserError, match="rofile here"):
        submit(place([sft], profile(executor="local"), attached=False))


def test_a_refusal_is_reported_in_slurms_words_and_takes_back_what_was_done(
    profile, prep, sft, fake_slurm: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    with pytest.raises(LaunchError) as caught:
        submit(place([prep, sft], profile('account = "nobody"'), attached=False))
    assert caught.value.message.endswith("sbatch: error: Batch job submission failed: Invalid account")
    assert "[here]" in str(caught.value.hint)
    assert fake_slurm.read_text().splitlines()[-1] == "scancel 41"
    assert not list(Path("output").rglob("*.secrets"))


def test_a_container_on_a_cluster_without_them_is_refused_with_the_way_out(profile, sft, fake_slurm: Path):
    here = profile('container_image = "image"')
    with pytest.raises(LaunchError, match=r"\bimage\b.*\bhere\b") as caught:
        submit(place([sft], here, attached=True))
    assert 'container_image = "none"' in str(caught.value.hint)
    assert not fake_slurm.exists()


def test_a_cluster_that_cannot_be_reached_is_named(profile, sft):
    lines = ['tunnel = "ssh"', 'host = "127.0.0.1"', "port = 1", 'user = "me"', 'remote_job_dir = "/jobs"']
    with pytest.raises(LaunchError, match=r"me@127\.0\.0\.1.*port 1"):
        submit(place([sft], profile(*lines), attached=True))


@pytest.mark.parametrize("number", ["123", "123;east"])  # as a federation of clusters says it
def test_the_number_of_a_job_is_told_from_its_cluster(number: str):
    assert _slurm_id(f"slurm_tunnel://nemo_run/{number}") == "123"
