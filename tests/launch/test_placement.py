"""A stage on a profile: folders, mounts, image, interpreter, processes, and env.toml read once."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.launch import Profile, Stage, place
from nemotron.launch.placement import (
    choose_image,
    choose_interpreter,
    find_jobs_root,
    find_workdir,
    list_mounts,
    make_experiment_name,
    pyxis_image,
)
from nemotron.launch.profiles import env_file
from nemotron.launch.stages import TRAIN_SCRIPT


def test_a_job_works_where_it_was_submitted(work: Path):
    assert find_workdir(Profile("slurm")) == str(work)
    assert find_jobs_root(Profile("slurm")) == f"{work}/output/experiments"


def test_over_ssh_a_job_works_in_the_job_folder():
    profile = Profile("slurm", tunnel="ssh", remote_job_dir="/lustre/jobs")
    assert (find_workdir(profile), find_jobs_root(profile)) == ("/lustre/jobs", "/lustre/jobs")


def test_the_profile_may_name_both_folders():
    profile = Profile("slurm", workdir="/data", remote_job_dir="/jobs")
    assert (find_workdir(profile), find_jobs_root(profile)) == ("/data", "/jobs/experiments")


@pytest.mark.parametrize("folder", ["/a b", "/a/nemo_run/b", "/a'b", "/a$b", "/a%j"])
def test_a_folder_that_would_break_the_scripts_is_refused(folder: str):
    with pytest.raises(UserError, match=rf"{re.escape(folder)}.*remote_job_dir"):
        find_jobs_root(Profile("slurm", remote_job_dir=folder))


def test_the_working_folder_is_mounted_unless_it_is_in_sight(work: Path):
    def of(*given: str) -> tuple[str, ...]:
        return list_mounts(Profile("slurm", mounts=given), str(work))

    assert of("/data:/data") == ("/data:/data", f"{work}:{work}")
    assert of(f"{work.parent}:{work.parent}:ro") == (f"{work.parent}:{work.parent}:ro",)
    assert of(f"{work}:/elsewhere") == (f"{work}:/elsewhere", f"{work}:{work}")


def test_every_submission_has_a_name_of_its_own(prep, sft):
    first, second = make_experiment_name([prep, sft]), make_experiment_name([prep, sft])
    assert first != second
    assert first.split("_")[0] == "super3-prep-sft"


def test_a_stage_is_placed_with_what_its_own_table_says(profile, prep: Stage, sft: Stage):
    of_prep = ['workdir = "/prep"', 'env_vars = { NCCL_DEBUG = "1" }']
    here = profile("nodes = 2", "gpus_per_node = 4", "[here.prep]", *of_prep)
    on_prep, on_sft = place([prep, sft], here, attached=True)
    assert (on_prep.nodes, on_prep.ranks, on_prep.workdir, on_prep.variables) == (1, 1, "/prep", {"NCCL_DEBUG": "1"})
    assert (on_sft.nodes, on_sft.processes, on_sft.ranks, on_sft.variables) == (2, 4, 8, {})
    assert on_prep.experiment == on_sft.experiment
    assert on_prep.folder.removesuffix("prep") == on_sft.folder.removesuffix("sft")
    assert on_sft.folder == f"{on_sft.root}/super3-prep-sft/{on_sft.experiment}/sft"


def test_the_config_may_set_the_processes(profile, sft: Stage):
    assert place([replace(sft, processes_per_node=2)], profile("gpus_per_node = 8"), attached=True)[0].processes == 2


def test_attached_and_detached_jobs_may_have_partitions_of_their_own(profile, sft: Stage):
    here = profile('partition = "batch"', 'run_partition = "interactive"')
    assert [place([sft], here, attached=attached)[0].partition for attached in (True, False)] == [
        "interactive",
        "batch",
    ]


@pytest.mark.parametrize(
    ("of_profile", "of_config", "expected"),
    [(None, None, None), (None, "c", "c"), ("p", "c", "p"), ("none", "c", None), ("p", None, "p")],
)
def test_the_profiles_container_wins_over_the_configs(of_profile, of_config, expected):
    stage = Stage("sft", TRAIN_SCRIPT, {}, "tiny", distributed=True, container=of_config)
    assert choose_image(stage, Profile("slurm", container_image=of_profile)) == expected


def test_the_running_interpreter_serves_only_where_the_job_sees_it():
    assert choose_interpreter(Profile("slurm"), None) == sys.executable
    assert choose_interpreter(Profile("slurm"), "image") == "python"
    assert choose_interpreter(Profile("slurm", tunnel="ssh"), None) == "python"
    assert choose_interpreter(Profile("slurm", python="/opt/python"), "image") == "/opt/python"


def test_env_toml_is_read_once(work: Path, monkeypatch: pytest.MonkeyPatch):
    from nemotron.launch import load_profile, read_shared_environment

    (work / "env.toml").write_text('[wandb]\nproject = "p"\n[here]\nexecutor = "slurm"\n')
    parsed: list[str] = []
    monkeypatch.setattr(env_file.tomllib, "loads", lambda text: parsed.append(text) or {"here": {"executor": "slurm"}})
    read_shared_environment()
    load_profile("here")
    assert len(parsed) == 1


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("nvcr.io/nvidia/nemo:26.02", "nvcr.io#nvidia/nemo:26.02"),
        ("docker://nvcr.io/nvidia/nemo:26.02", "nvcr.io#nvidia/nemo:26.02"),
        ("nvcr.io#nvidia/nemo:26.02", "nvcr.io#nvidia/nemo:26.02"),
        ("localhost:5000/mine", "localhost:5000#mine"),
        ("localhost/mine", "localhost#mine"),
        ("node:5000/mine", "node:5000#mine"),
        ("oci://nvcr.io/mine", "oci://nvcr.io/mine"),
        ("ubuntu", "ubuntu"),
        ("nvidia/cuda:12", "nvidia/cuda:12"),
    ],
)
def test_an_image_is_written_as_enroot_wants_it(written: str, taken: str):
    assert pyxis_image(written, Profile("slurm")) == taken


def test_an_image_file_is_there_and_absolute(work: Path):
    (work / "a b.sqsh").touch()
    for written in ("a b.sqsh", "./a b.sqsh", f"{work}/a b.sqsh"):
        assert pyxis_image(written, Profile("slurm")) == f"{work}/a b.sqsh"
    with pytest.raises(UserError, match=r"gone\.sqsh"):
        pyxis_image("./gone.sqsh", Profile("slurm"))
    over_ssh = Profile("slurm", tunnel="ssh")
    assert pyxis_image("/far/x.sqsh", over_ssh) == "/far/x.sqsh"
    for written in ("./x.sqsh", "x.sqsh", "~/x.sqsh"):
        with pytest.raises(UserError, match=f"{written} is a relative path"):
            pyxis_image(written, over_ssh)


def test_what_hugging_face_and_wandb_read_is_handed_on_where_files_are_shared(
    profile, sft: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HOME", "/cache")
    monkeypatch.setenv("WANDB_MODE", "offline")
    variables = place([sft], profile('env_vars = { WANDB_MODE = "online" }'), attached=True)[0].variables
    assert (variables["HF_HOME"], variables["WANDB_MODE"]) == ("/cache", "online")


SHARED = ("HF_HOME", "HF_HUB_OFFLINE", "NEMOTRON_ARTIFACTS", "WANDB_ENTITY", "WANDB_MODE", "WANDB_PROJECT")


@pytest.mark.parametrize(
    ("profile", "expected"), [(Profile("slurm"), SHARED), (Profile("slurm", tunnel="ssh", remote_job_dir="/jobs"), ())]
)
def test_a_job_that_sees_the_same_files_gets_what_names_them(profile, expected, sft: Stage, monkeypatch):
    for name in (*SHARED, "HOME", "NEMOTRON_VERBOSE"):
        monkeypatch.setenv(name, f"/of {name}")
    variables = place([sft], profile, attached=True)[0].variables
    assert {name for name in SHARED if variables.get(name) == f"/of {name}"} == set(expected)
    assert "HOME" not in variables


@pytest.mark.parametrize(
    ("executor", "stage", "nodes"),
    [
        ("slurm", {"distributed": True}, 4),
        ("slurm", {}, 1),
        ("slurm", {"ray": True}, 4),
        ("skypilot", {"distributed": True}, 4),
        ("skypilot", {"ray": True}, 1),
        ("local", {"distributed": True}, 1),
        ("docker", {"ray": True}, 1),
    ],
)
def test_training_has_all_nodes_and_data_prep_where_it_brings_ray(executor: str, stage: dict, nodes: int, prep: Stage):
    profile = Profile(executor, name="here", nodes=4, container_image="image")
    [placed] = place([replace(prep, **stage)], profile, attached=True)
    assert placed.nodes == nodes
