"""What Slurm, its accounting and its logs say about a job; a table of answers plays the cluster."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.launch.jobs.state import (
    FORGOTTEN,
    JobState,
    ask,
    ask_state,
    cut_to_stage,
    find_job_id,
    read_first_failure,
    read_logged_end,
)

SHOWN = "JobId=7 JobState={} Reason={} ExitCode={} RunTime=00:05:00 TimeLimit=04:00:00 ReqNodeList=(null) NodeList={}"


def cluster(**answers: str) -> Any:
    """A tunnel on which each command, by its first word, has one answer."""
    return SimpleNamespace(run=lambda command, **_: SimpleNamespace(stdout=answers.get(command.split()[0], "")))


@pytest.fixture
def here() -> Any:
    """A tunnel to this machine."""
    return SimpleNamespace(
        run=lambda command, **_: subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    )


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (("RUNNING", "None", "0:0", "n[1-2]"), JobState("RUNNING", node="n[1-2]", elapsed="00:05:00")),
        (("PENDING", "Resources", "0:0", "(null)"), JobState("PENDING", "Resources", elapsed="00:05:00")),
        (("FAILED", "NonZeroExitCode", "3:0", "n1"), JobState("FAILED", "NonZeroExitCode", 3, "n1", "00:05:00")),
        (("FAILED", "None", "0:9", "n1"), JobState("FAILED", "", 137, "n1", "00:05:00")),
        (("TIMEOUT", "None", "0:0", "n1"), JobState("TIMEOUT", "", 1, "n1", "00:05:00")),
        (("COMPLETED", "None", "0:0", "n1"), JobState("COMPLETED", "", 0, "n1", "00:05:00")),
    ],
)
def test_the_controller_is_asked_first(values: tuple[str, ...], state: JobState):
    assert ask_state(cluster(scontrol=SHOWN.format(*values), sacct="COMPLETED|0:0|n9|1"), "7") == state


@pytest.mark.parametrize(
    ("accounts", "state"),
    [
        ("FAILED|2:0|n1|00:00:09\n", JobState("FAILED", "", 2, "n1", "00:00:09")),
        ("CANCELLED by 0|0:15|None assigned|00:00:00\n", JobState("CANCELLED", "", 143, "None assigned", "00:00:00")),
        ("COMPLETED|0:0|n1|1\nFAILED|1:0|n2|2\n", JobState("COMPLETED", "", 0, "n1", "1")),
        ("COMPLETED|0:0\n", JobState("COMPLETED")),
        ("", JobState(FORGOTTEN)),
    ],
)
def test_accounting_knows_what_the_controller_has_forgotten(accounts: str, state: JobState):
    gone = "slurm_load_jobs error: Invalid job id specified"
    assert ask_state(cluster(scontrol=gone, sacct=accounts), "7") == state


def test_without_any_answer_nothing_is_known():
    assert ask_state(cluster(), "7") is None
    assert ask_state(cluster(scontrol="JobId=7 JobState=RUNNING"), "7") == JobState("RUNNING")


@pytest.mark.parametrize("error", [OSError(), EOFError()])
def test_a_lost_connection_is_no_answer(error: Exception):
    def run(command: str, **options: object) -> None:
        assert options == {"hide": True, "warn": True, "in_stream": False}
        raise error

    assert ask(SimpleNamespace(run=run), "true") == ""


@pytest.mark.parametrize(
    ("name", "is_final"),
    [
        *[(name, True) for name in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")],
        *[(name, True) for name in ("BOOT_FAIL", "DEADLINE", "PREEMPTED", "FORGOTTEN")],
        *[(name, False) for name in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED")],
    ],
)
def test_a_job_that_has_ended_is_not_asked_for_again(name: str, is_final: bool):
    assert JobState(name).is_final is is_final


@pytest.mark.parametrize(
    ("log", "state"),
    [
        ("job exited with code 0\n", JobState("COMPLETED")),
        ("job exited with code 1\nmore\njob exited with code 12\n", JobState("FAILED", exit_code=12)),
        ("echo job exited with code 5\n", None),
        ("", None),
    ],
)
def test_the_log_says_how_a_forgotten_job_ended(here: Any, tmp_path: Path, log: str, state: JobState | None):
    (tmp_path / "sbatch_a_7.out").write_text(log)
    assert read_logged_end(here, f"{tmp_path}/sbatch_*_7.out") == state


@pytest.mark.parametrize(
    ("log", "code"),
    [
        ("srun: error: n2: task 1: Exited with exit code 3\nsrun: error: n1: task 0: Exited with exit code 143\n", 3),
        ("srun: error: n2: a: Exited with exit code 3\n# Command 1\nsrun: error: n1: Exited with exit code 4\n", 4),
        ("srun: error: n2: task 1: Killed\n", None),
    ],
)  # fmt: skip
def test_of_several_nodes_the_one_that_failed_first_says_why(here: Any, tmp_path: Path, log: str, code: int | None):
    (tmp_path / "sbatch_a_7.out").write_text(log)
    assert read_first_failure(here, f"{tmp_path}/sbatch_*_7.out") == code


def test_the_stage_begins_after_the_last_start():
    assert cut_to_stage("a\n# Command 1\nb\n# Command 1\nc\n") == "c\n"
    assert cut_to_stage("a\nb\n") == "a\nb\n"


def test_a_job_is_found_by_its_script_in_the_queue_or_by_its_log(here: Any, tmp_path: Path):
    assert find_job_id(cluster(squeue="41\n42\n"), "/jobs/sft") == "41"
    (tmp_path / "sft").mkdir()
    assert find_job_id(here, f"{tmp_path}/sft") == ""
    (tmp_path / "sft/sbatch_me.sft_43.out").touch()
    assert find_job_id(here, f"{tmp_path}/sft") == "43"
