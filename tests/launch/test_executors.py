"""From a profile to what NeMo-Run is asked for: folders, mounts, names."""

from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.launch import Profile
from nemotron.launch.executors import experiment_name, jobs_root, mounts, workdir


def test_a_job_works_where_it_was_submitted(work: Path):
    assert workdir(Profile("slurm")) == str(work)
    assert jobs_root(Profile("slurm")) == f"{work}/output/experiments"


def test_over_ssh_a_job_works_in_the_job_folder():
    profile = Profile("slurm", tunnel="ssh", remote_job_dir="/lustre/jobs")
    assert (workdir(profile), jobs_root(profile)) == ("/lustre/jobs", "/lustre/jobs")


def test_the_profile_may_name_both_folders():
    profile = Profile("slurm", workdir="/data", remote_job_dir="/jobs")
    assert (workdir(profile), jobs_root(profile)) == ("/data", "/jobs/experiments")


@pytest.mark.parametrize("folder", ["/a b", "/a/nemo_run/b", "/a'b", "/a$b"])
def test_a_folder_that_would_break_the_scripts_is_refused(folder: str):
    with pytest.raises(UserError, match=r"The folder for jobs, .* cannot be used"):
        jobs_root(Profile("slurm", remote_job_dir=folder))


def test_the_working_folder_is_mounted_unless_it_is_in_sight(work: Path):
    assert mounts(Profile("slurm", mounts=("/data:/data",))) == ["/data:/data", f"{work}:{work}"]
    assert mounts(Profile("slurm", mounts=(f"{work.parent}:{work.parent}:ro",))) == [f"{work.parent}:{work.parent}:ro"]
    assert mounts(Profile("slurm", mounts=(f"{work}:/elsewhere",)))[1:] == [f"{work}:{work}"]


def test_every_submission_has_a_name_of_its_own(prep, sft):
    first, second = experiment_name([prep, sft]), experiment_name([prep, sft])
    assert first != second
    assert first.split("_")[0] == "super3-prep-sft"
