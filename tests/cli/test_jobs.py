"""`jobs`, `logs` and `cancel`, with the cluster replaced by one job's state and log."""

from pathlib import Path

import pytest

from nemotron.cli.app import run
from nemotron.launch import Job, Profile, Submission
from nemotron.launch.jobs import records
from nemotron.launch.jobs.follow import JobState


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A running job 41 of the submission sft_1, in a folder that has its log."""
    (tmp_path / "log-a.sft_41_0.out").write_text("iteration 1\n")
    state = JobState("RUNNING", node="node3", elapsed="00:00:07")
    monkeypatch.setattr(records, "ask_state", lambda shell, job: state)
    records.keep(Submission("sft_1", Profile("slurm", name="here"), (Job("sft", "41", str(tmp_path)),), object()))
    return tmp_path


def test_jobs_lists_state_node_and_elapsed(submitted, capsys):
    assert run(["jobs"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[:5] == ["41", "sft", "running", "node3", "00:00:07"]
    assert line[-1] == "sft_1"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (JobState("FAILED", exit_code=137), ["failed", "137"]),
        (JobState("COMPLETED"), ["completed", "0"]),
        (JobState("FORGOTTEN"), ["forgotten"]),  # nobody knows how it ended
    ],
)
def test_jobs_lists_how_a_job_ended(submitted, capsys, monkeypatch, state, shown):
    monkeypatch.setattr(records, "ask_state", lambda shell, job: state)
    assert run(["jobs"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[2 : line.index("here")] == shown


def test_nothing_submitted_is_said(capsys):
    assert run(["jobs"]) == 0
    assert "--batch" in capsys.readouterr().out


@pytest.mark.parametrize("wanted", ["41", "sft_1"])
def test_logs_prints_what_is_written(submitted, capsys, wanted):
    assert run(["logs", wanted]) == 0
    assert capsys.readouterr().out == "iteration 1\n"


def test_an_unknown_job_is_refused(submitted, capsys):
    assert run(["cancel", "42"]) == 1
    assert "42" in capsys.readouterr().err
