"""A second run is kept out of a folder that a submitted job, or another process, works in."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nemotron.launch import Job, Profile, Stage, Submission, place
from nemotron.launch.jobs import in_use
from nemotron.launch.jobs.in_use import check_folders, check_folders_here
from nemotron.launch.jobs.records import keep


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What scontrol prints."""
    for name, body in {"scontrol": f"cat {tmp_path}/answer", "sacct": "exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "answer").write_text("JobId=7 JobState=RUNNING\n")
    return tmp_path / "answer"


def submitted(folder: Path, profile: Profile | None = None) -> None:
    keep(Submission("sft_1", profile or Profile("slurm"), (Job("sft", "7", "/jobs", writes=(str(folder),)),), object()))


def writing(sft: Stage) -> Stage:
    return replace(sft, writes={"run.output_dir": "output/run"})


def test_a_job_that_works_in_the_folder_is_named(profile, sft: Stage, work: Path, answer: Path):
    submitted(work / "output/run")
    [problem] = check_folders(place([writing(sft)], profile(), attached=True))
    assert re.search(r"\b7 .*sft_1", problem.message)
    assert "run.output_dir" in problem.message
    assert "nemotron cancel 7" in problem.hint
    assert [each.message for each in check_folders_here({"run.output_dir": "output/run"})] == [problem.message]


def test_one_of_several_jobs_may_be_the_one_that_works_there(work: Path, answer: Path):
    jobs = (Job("prep", "6", "/jobs"), Job("sft", "7", "/jobs", writes=(str(work / "output/run"),)))
    keep(Submission("both", Profile("slurm"), jobs, object()))
    [problem] = check_folders_here({"run.output_dir": "output/run"})
    assert re.search(r"\b7 .*both", problem.message)


def test_another_folder_and_another_machine_are_free(profile, sft: Stage, work: Path, answer: Path, monkeypatch):
    monkeypatch.setattr(in_use, "refresh", lambda record: record)  # whatever was submitted still runs
    submitted(work / "output/other")
    submitted(work / "output/run", Profile("slurm", tunnel="ssh", host="far", user="me"))
    assert not [*check_folders(place([writing(sft)], profile(), attached=True))]


@pytest.mark.parametrize(
    "said", ["JobId=7 JobState=COMPLETED ExitCode=0:0\n", "slurm_load_jobs error: Invalid job id specified\n", ""]
)
def test_a_job_that_has_ended_or_cannot_be_asked_about_blocks_nothing(
    profile, sft: Stage, work: Path, answer: Path, said: str
):
    submitted(work / "output/run")
    answer.write_text(said)
    assert not [*check_folders(place([writing(sft)], profile(), attached=True))]


@pytest.mark.slow
def test_a_process_that_holds_the_folder_is_named(profile, sft: Stage, work: Path):
    hold = "import sys, pathlib; from nemotron.files.folder_lock import sole_writer\n"
    hold += "with sole_writer(pathlib.Path('output/run')): print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        [problem] = check_folders(place([writing(sft)], profile(), attached=True))
        assert f"process {holder.pid}" in problem.message
        holder.communicate()


@pytest.mark.parametrize(("folder", "asks"), [("output/run", True), ("output/other", False)])
def test_slurm_is_asked_only_about_jobs_that_write_to_the_folder(work: Path, monkeypatch, folder: str, asks: bool):
    asked = []
    submitted(work / folder)
    monkeypatch.setattr(in_use, "refresh", lambda record: asked.append(record.name) or record)
    [*check_folders_here({"run.output_dir": "output/run"})]
    assert bool(asked) is asks
