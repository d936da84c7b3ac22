"""What was submitted, kept after Slurm has forgotten it. Commands in a folder play Slurm."""

import os
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.launch import Job, Profile, Submission, place
from nemotron.launch.jobs import records
from nemotron.launch.jobs.records import (
    announce,
    cancel,
    find,
    find_records_folder,
    forget_finished,
    keep,
    read_records,
    refresh,
)
from nemotron.launch.jobs.state import JobState


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `answer` scontrol prints, and whose `calls` lists what scancel was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    bodies = {"scontrol": f"cat {tmp_path}/answer", "sacct": "exit 1", "scancel": f'echo "$@" >> {tmp_path}/calls'}
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def submitted(name: str, *ids: str, secrets_file: str = "") -> Submission:
    jobs = tuple(Job("sft", job_id, f"/jobs/{job_id}", secrets_file) for job_id in ids)
    return Submission(name, Profile("slurm", name="here"), jobs, object())


def test_a_job_is_found_by_its_id_and_all_jobs_by_the_submissions_name():
    keep(submitted("super3-prep-sft_1", "41", "42"))
    assert [job.id for job in find("42")[1]] == ["42"]
    assert [job.id for job in find("super3-prep-sft_1")[1]] == ["41", "42"]
    with pytest.raises(UserError, match="super3-prep-sft_1"):
        find("super3-prep-stf_1")


def test_an_end_is_kept_after_slurm_has_forgotten_it(slurm: Path):
    keep(submitted("a", "7"))
    (slurm / "answer").write_text("JobId=7 JobState=FAILED ExitCode=3:0 RunTime=00:01:02 NodeList=node7\n")
    refresh(read_records()[0])
    (slurm / "answer").write_text("")
    [job] = refresh(read_records()[0]).jobs
    assert (job.state, job.exit_code, job.node, job.elapsed) == ("FAILED", 3, "node7", "00:01:02")


def test_a_submission_is_asked_about_and_kept_until_its_last_job_has_ended(slurm: Path, monkeypatch):
    asked: list[str] = []
    states = {"7": "COMPLETED", "8": "RUNNING"}

    def ask(shell: object, job_id: str) -> JobState:
        asked.append(job_id)
        return JobState(states[job_id])

    monkeypatch.setattr(records, "ask_state", ask)
    keep(submitted("both", "7", "8"))
    assert [job.state for job in refresh(read_records()[0]).jobs] == ["COMPLETED", "RUNNING"]
    assert forget_finished() == []
    states["8"] = "FAILED"
    assert [record.name for record in forget_finished()] == ["both"]
    assert asked == ["7", "8", "8", "8"]


def test_cancelling_removes_the_secrets(slurm: Path):
    secrets = slurm / "x.secrets"
    secrets.touch()
    record = keep(submitted("a", "7", secrets_file=str(secrets)))
    (slurm / "answer").write_text("JobId=7 JobState=RUNNING\n")
    cancel(record, record.jobs)
    (slurm / "answer").write_text("JobId=7 JobState=CANCELLED ExitCode=0:15\n")
    assert (slurm / "calls").read_text() == "7\n"
    assert not secrets.exists()
    assert refresh(read_records()[0]).jobs[0].state == "CANCELLED"


def test_a_job_that_has_ended_is_not_cancelled_but_loses_its_secrets(slurm: Path):
    secrets = slurm / "x.secrets"
    secrets.touch()
    record = keep(submitted("a", "7", secrets_file=str(secrets)))
    (slurm / "answer").write_text("JobId=7 JobState=COMPLETED ExitCode=0:0\n")
    cancelled, ended = cancel(record, record.jobs)
    assert (cancelled, [job.state for job in ended]) == ([], ["COMPLETED"])
    assert not (slurm / "calls").exists()
    assert not secrets.exists()


@pytest.mark.parametrize(
    ("log", "state", "code"),
    [('echo "job exited with code $exitcode"\njob exited with code 3\n', "FAILED", 3), ("+ srun\n", "FORGOTTEN", 0)],
)
def test_the_end_of_a_job_that_slurm_has_forgotten_is_in_its_log(slurm: Path, log: str, state: str, code: int):
    (slurm / "answer").write_text("slurm_load_jobs error: Invalid job id specified\n")
    (slurm / "sbatch_a.sft_7.out").write_text(log)
    job = Job("sft", "7", str(slurm))
    keep(Submission("a", Profile("slurm", name="here"), (job,), object()))
    [job] = refresh(read_records()[0]).jobs
    assert (job.state, job.exit_code, job.is_final) == (state, code, True)


def test_clean_forgets_what_has_ended_only(slurm: Path):
    secrets = slurm / "x.secrets"
    secrets.touch()
    (slurm / "answer").write_text("JobId=7 JobState=COMPLETED ExitCode=0:0\n")
    refresh(keep(submitted("ended", "7", secrets_file=str(secrets))))
    (slurm / "answer").write_text("JobId=8 JobState=RUNNING ExitCode=0:0\n")
    keep(submitted("running", "8"))
    assert [record.name for record in forget_finished()] == ["ended"]
    assert [record.name for record in read_records()] == ["running"]
    assert not secrets.exists()


def test_a_file_that_is_no_record_is_left_alone():
    keep(submitted("a", "7"))
    (find_records_folder() / "b.json").write_text('{"broken"')
    assert [record.name for record in read_records()] == ["a"]


def test_a_submission_that_was_killed_is_found_by_its_folder(slurm: Path, profile, sft):
    """A process that dies between sbatch and the record leaves a job, whose script's path names it."""
    placements = place([sft], profile(f'remote_job_dir = "{slurm}"'), attached=False)
    announce(placements)
    [before] = refresh(read_records()[0]).jobs
    assert (before.id, before.state, before.secrets_file) == ("", "SUBMITTING", placements[0].secrets_file)
    squeue = slurm / "bin" / "squeue"
    squeue.write_text(f"#!/bin/bash\necho '40 /other/sft_sbatch.sh'; echo '41 {placements[0].folder}_sbatch.sh'\n")
    squeue.chmod(0o755)
    (slurm / "answer").write_text("JobId=41 JobState=PENDING Reason=Priority\n")
    [after] = refresh(read_records()[0]).jobs
    assert (after.id, after.state) == ("41", "PENDING")
