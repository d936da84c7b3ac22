"""Real jobs through a real sbatch."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from nemotron.exit_codes import STOPPED
from nemotron.launch import Job, JobState, LaunchError, Stage, Submission, follow, place, submit
from nemotron.launch.jobs.state import ask_state
from nemotron.launch.stages import PREP_SCRIPT, TORCHRUN, TRAIN_SCRIPT

PREP = Stage("prep", PREP_SCRIPT, {"seed": 1}, "tiny", distributed=False)
SFT = Stage("sft", TRAIN_SCRIPT, {"seed": 1}, "tiny", distributed=True)


def wait(submission: Submission) -> tuple[int, str, list[str]]:
    """Exit code, output, and the states each job was seen to end in."""
    output: list[str] = []
    ends: list[str] = []

    def on_state(job: Job, state: JobState) -> None:
        if state.is_final:
            ends.append(f"{job.stage} {state.name}")

    code = follow(submission, on_output=output.append, on_state=on_state, interval=0.2)
    return code, "".join(output), ends


def test_a_job_runs_where_it_was_submitted_and_its_output_comes_back(profile, work: Path):
    submission = submit(
        place([SFT], profile({"sft": 'echo "in $PWD"; echo "$@"'}, "ntasks_per_node = 2"), attached=True)
    )
    code, output, ends = wait(submission)
    assert (code, ends) == (0, ["sft COMPLETED"])
    first, second = output.splitlines()
    assert first == f"in {work}"
    folder = submission.jobs[0].folder
    assert second == (
        f"{folder}/code/nemotron/{TORCHRUN} --nproc-per-node=2 --standalone "
        f"{folder}/code/nemotron/{TRAIN_SCRIPT} --config {folder}/code/tiny.yaml"
    )


def test_a_failure_has_the_stages_exit_code(profile):
    assert wait(submit(place([SFT], profile({"sft": "echo no; exit 7"}), attached=True))) == (7, "no\n", ["sft FAILED"])


def test_output_arrives_while_the_job_runs(profile, work: Path):
    """The job waits for a file that is written only once its first line has arrived."""
    body = "echo started; until [ -e go ]; do sleep 0.1; done; echo ended"
    submission = submit(place([SFT], profile({"sft": body}), attached=True))
    output: list[str] = []

    def answer(text: str) -> None:
        output.append(text)
        (work / "go").touch()

    assert follow(submission, on_output=answer, interval=0.2) == 0
    assert output == ["started\n", "ended\n"]


def test_the_second_stage_starts_after_the_first_has_succeeded(profile, work: Path):
    bodies = {"prep": "sleep 1; touch prepared", "sft": "[ -e prepared ] && echo found"}
    assert wait(submit(place([PREP, SFT], profile(bodies), attached=True))) == (
        0,
        "found\n",
        ["prep COMPLETED", "sft COMPLETED"],
    )


def test_the_second_stage_never_starts_when_the_first_fails(profile, work: Path):
    submission = submit(place([PREP, SFT], profile({"prep": "exit 5", "sft": "touch started"}), attached=True))
    assert wait(submission)[0] == 5
    deadline = time.monotonic() + 60  # Slurm's scheduler takes its time to give a dependency up
    while not (state := ask_state(submission.tunnel, submission.jobs[1].id)) or not state.is_final:
        assert time.monotonic() < deadline, f"still {state}"
        time.sleep(0.5)
    assert state.name == "CANCELLED"
    assert not (work / "started").exists()


def test_variables_and_secrets_arrive_and_secrets_are_written_nowhere_else(
    profile, work: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "s3cr et")
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")  # as on clusters that start jobs in a clean environment
    body = 'echo "${#HF_TOKEN} $lower"; ps -eo args > processes'
    lines = ("env_vars = { lower = 'a  b' }",)
    code, output, _ = wait(submit(place([SFT], profile({"sft": body}, *lines), attached=True)))
    assert (code, output) == (0, "7 a  b\n")
    written = [path for path in work.rglob("*") if path.is_file() and b"s3cr et" in path.read_bytes()]
    assert written == []


def test_nothing_of_the_submitting_environment_goes_along_by_itself(
    profile, work: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_DATABASE_PASSWORD", "s3cret")
    monkeypatch.setenv("HF_HOME", "/cache")
    submission = submit(place([SFT], profile({"sft": "env; env > seen"}, "cpus_per_task = 2"), attached=True))
    code, output, _ = wait(submission)
    assert code == 0
    assert "MY_DATABASE_PASSWORD" not in output
    assert {"HF_HOME=/cache", "SLURM_CPUS_PER_TASK=2"} <= set(output.splitlines())
    scripts = [*work.rglob("*_sbatch.sh"), *work.rglob("launch.sh")]
    assert [path.stat().st_mode & 0o777 for path in scripts] == [0o700, 0o700]


def test_a_cancelled_job_is_a_failure(profile):
    submission = submit(place([SFT], profile({"sft": "sleep 60"}), attached=True))
    subprocess.run(["scancel", *(job.id for job in submission.jobs)], check=True)
    code, _, ends = wait(submission)
    assert code != 0
    assert ends == ["sft CANCELLED"]


TRAINS = """
import os, pathlib, signal, sys, time

def save(signum, frame):
    time.sleep(2)  # a checkpoint
    pathlib.Path("saved-" + os.environ["RANK"]).touch()
    if os.environ["RANK"] == "0":
        pathlib.Path(os.environ["NEMOTRON_STOPPED_MARK"]).touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
pathlib.Path("trains-" + os.environ["RANK"]).touch()
time.sleep(120)
"""


def test_sigterm_to_the_whole_job_saves_and_has_an_exit_code_of_its_own(profile, work: Path):
    """Slurm signals torchrun and what watches over it as well as the ranks; only the ranks may act on it."""
    (work / "trains.py").write_text(TRAINS)
    body = f'exec {sys.executable} "${{@/%*train.py/{work}/trains.py}}"'
    submission = submit(place([SFT], profile({"sft": body}, "ntasks_per_node = 2"), attached=True))
    deadline = time.monotonic() + 120
    while len(list(work.glob("trains-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    subprocess.run(["scancel", "--signal=TERM", submission.jobs[0].id], check=True)
    code, output, ends = wait(submission)
    assert (code, ends) == (STOPPED, ["sft FAILED"]), output
    assert sorted(path.name for path in work.glob("saved-*")) == ["saved-0", "saved-1"]


def test_slurms_refusal_is_told_in_its_words(profile):
    with pytest.raises(LaunchError, match=r"sbatch: error: .*[Pp]artition"):
        submit(place([SFT], profile({}, 'partition = "nowhere"'), attached=True))


def test_the_real_script_runs_in_the_job(profile, work: Path):
    """Data prep's own script, stopped by its own message: the package, its configs and the interpreter are there."""
    stage = Stage("prep", PREP_SCRIPT, {"blend_path": "missing.json"}, "tiny", distributed=False)
    code, output, _ = wait(submit(place([stage], profile({}), attached=True)))
    assert code == 1
    assert "\nerror: " in f"\n{output}"
    assert "missing.json" in output
