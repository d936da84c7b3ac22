"""The dry run: exactly the batch script, and nothing left behind. NeMo-Run writes the script, for real."""

import shlex
from pathlib import Path

import pytest

from nemotron.config import load_config
from nemotron.launch import Stage, place, preview
from nemotron.launch.stages import TRAIN_SCRIPT, make_sft_stage
from nemotron.training.config import SftConfig


def options(script: str | None) -> dict[str, str]:
    """The #SBATCH options of a script."""
    lines = [line.removeprefix("#SBATCH --") for line in (script or "").splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.slow
def test_the_profile_as_sbatch_sees_it(profile, prep: Stage, sft: Stage, work: Path):
    here = profile(
        'account = "acct"',
        'partition = "batch"',
        'run_partition = "interactive"',
        "nodes = 2",
        "ntasks_per_node = 8",
        "gpus_per_node = 8",
        'time = "04:00:00"',
        "exclusive = true",
        'additional_parameters = { reservation = "ours" }',
    )
    of_prep, of_sft = preview(place([prep, sft], here, attached=True))
    asked = options(of_sft.batch_script)
    assert {name: asked[name] for name in ("account", "partition", "nodes", "ntasks-per-node", "gpus-per-node")} == {
        "account": "acct",
        "partition": "interactive",
        "nodes": "2",
        "ntasks-per-node": "1",  # torchrun starts the eight
        "gpus-per-node": "8",
    }
    assert (asked["time"], asked["reservation"], asked["export"]) == ("04:00:00", "ours", "NONE")
    assert "cpus-per-task" not in asked  # the cluster's choice
    assert "exclusive" in asked
    assert asked["kill-on-invalid-dep"] == "yes"
    assert options(of_prep.batch_script)["nodes"] == "1"
    assert "gpus-per-node" not in options(of_prep.batch_script)
    assert options(preview(place([sft], here, attached=False))[0].batch_script)["partition"] == "batch"
    assert of_sft.placement.folder.startswith(f"{work}/output/experiments/super3-prep-sft/")
    assert f"bash {of_sft.placement.folder}/code/launch.sh" in str(of_sft.batch_script)


@pytest.mark.slow
def test_cores_are_those_of_all_processes_of_a_node(profile, sft: Stage):
    here = profile("cpus_per_task = 2", "ntasks_per_node = 4")
    assert options(preview(place([sft], here, attached=True))[0].batch_script)["cpus-per-task"] == "8"


@pytest.mark.slow
def test_without_a_time_the_partitions_limit_holds(profile, sft: Stage):
    assert "time" not in options(preview(place([sft], profile(), attached=True))[0].batch_script)


@pytest.mark.slow
def test_a_container_gets_mounts_and_its_own_paths(profile, work: Path):
    stage = Stage("sft", TRAIN_SCRIPT, {}, "tiny", distributed=True, container="nvcr.io/nvidia/nemo:26.02")
    shown = preview(place([stage], profile('mounts = ["/lustre:/lustre"]'), attached=True))[0]
    assert shown.placement.image == "nvcr.io#nvidia/nemo:26.02"
    assert shown.placement.mounts == ("/lustre:/lustre", f"{work}:{work}")
    script = str(shown.batch_script)
    srun = shlex.split(next(line for line in script.splitlines() if "--container-image" in line))
    assert srun[srun.index("--container-image") + 1] == "nvcr.io#nvidia/nemo:26.02"
    assert f"--container-mounts /lustre:/lustre,{work}:{work},{shown.placement.folder}:/nemo_run" in script
    assert script.rstrip().count("bash /nemo_run/code/launch.sh") == 1
    assert shown.command.startswith('python "$code/nemotron/recipes/torchrun.py" ')


@pytest.mark.slow
def test_srun_waits_for_the_node_that_exports_as_long_as_the_others_do(profile):
    stage = make_sft_stage(load_config("tiny", ["convert_to_hf.timeout_minutes=90"], schema=SftConfig))
    script = str(preview(place([stage], profile(), attached=True))[0].batch_script)
    waits = [word for word in shlex.split(script, comments=True) if word.startswith("--wait=")]
    assert waits == ["--wait=60", f"--wait={90 * 60 + 300}"]  # the last one counts
    mine = str(preview(place([stage], profile('srun_args = ["--wait=7"]'), attached=True))[0].batch_script)
    assert [word for word in shlex.split(mine, comments=True) if word.startswith("--wait=")][-1] == "--wait=7"


@pytest.mark.slow
def test_secrets_are_named_and_never_shown(profile, sft: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    here = profile('env_vars = { WANDB_API_KEY = "s3cret too", HF_HOME = "/hf" }')
    shown = preview(place([sft], here, attached=True))[0]
    assert shown.variables == {"HF_HOME": "/hf", "HF_TOKEN": "***", "WANDB_API_KEY": "***"}
    assert "s3cret" not in repr(shown)


@pytest.mark.slow
def test_a_dry_run_writes_nothing(profile, prep: Stage, sft: Stage, work: Path):
    preview(place([prep, sft], profile(), attached=True))
    assert [path.name for path in work.iterdir()] == ["env.toml"]


@pytest.mark.slow
def test_ssh_is_not_needed_to_see_what_would_be_sent(profile, sft: Stage):
    lines = ['tunnel = "ssh"', 'host = "login.invalid"', 'user = "me"', 'remote_job_dir = "/lustre/jobs"']
    shown = preview(place([sft], profile(*lines), attached=True))[0]
    assert shown.placement.folder.startswith("/lustre/jobs/super3-sft/super3-sft_")
    assert shown.placement.folder in str(shown.batch_script)
    assert "cd -- /lustre/jobs" in shown.launch_script


def test_this_machine_has_a_launch_script_only(profile, sft: Stage):
    shown = preview(place([sft], profile(executor="local"), attached=True))[0]
    assert shown.batch_script is None
    assert "recipes/torchrun.py" in shown.launch_script
