"""Waiting for jobs: states as Slurm words them, logs as they grow. A folder plays the cluster."""

import subprocess
from pathlib import Path

import pytest

from nemotron.launch import Job, JobState, LaunchError, Profile, Submission, follow
from nemotron.launch.jobs.follow import _pick_errors, read_log
from nemotron.launch.jobs.state import ask_state

SCONTROL = "JobId={id} JobState={state} Reason={reason} Restarts=0 ExitCode={code} DerivedExitCode=0:0"


class Cluster:
    """A tunnel to a folder: scontrol answers one queued state per call, the last one from then on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[str, list[str]] = {}
        self.accounting = ""
        self.writes: dict[int, tuple[str, bytes]] = {}
        self.looks = 0

    def run(self, command: str, **_: object) -> subprocess.CompletedProcess[str]:
        if command.startswith("scontrol"):
            self.looks += 1
            if self.looks in self.writes:
                name, content = self.writes[self.looks]
                with open(self.folder / name, "ab") as file:
                    file.write(content)
            states = self.states.get(command.split()[4], [""])
            return subprocess.CompletedProcess(command, 0, states.pop(0) if len(states) > 1 else states[0])
        if command.startswith("sacct"):
            return subprocess.CompletedProcess(command, 0, self.accounting)
        return subprocess.run(command, shell=True, capture_output=True, text=True, check=False)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def says(state: str, reason: str = "None", code: str = "0:0") -> str:
    return SCONTROL.format(id=7, state=state, reason=reason, code=code)


def wait(cluster: Cluster, *ids: str) -> tuple[int, str, list[str]]:
    """Exit code, output and states of following the jobs."""
    jobs = tuple(Job("sft", job_id, str(cluster.folder)) for job_id in ids)
    output: list[str] = []
    states: list[str] = []
    code = follow(
        Submission("s", Profile("slurm"), jobs, cluster),
        on_output=output.append,
        on_state=lambda job, state: states.append(f"{job.id} {state.name}"),
        interval=0,
    )
    return code, "".join(output), states


def test_output_comes_as_it_is_written_and_once(cluster: Cluster):
    cluster.states["7"] = [says("PENDING", "Priority"), says("RUNNING"), says("RUNNING"), says("COMPLETED")]
    cluster.writes = {
        2: ("log-x.sft_7_0.out", b"one\ntw"),
        3: ("log-x.sft_7_0.out", b"o\n"),
        4: ("log-x.sft_7_0.out", b"end"),
    }
    assert wait(cluster, "7") == (0, "one\ntwo\nend", ["7 PENDING", "7 RUNNING", "7 COMPLETED"])


def test_a_character_cut_in_two_arrives_whole(cluster: Cluster):
    first, second = "ä\n".encode()[:1], "ä\n".encode()[1:]
    cluster.states["7"] = [says("RUNNING"), says("COMPLETED")]
    cluster.writes = {1: ("log-x.sft_7_0.out", first), 2: ("log-x.sft_7_0.out", second)}
    assert wait(cluster, "7")[1] == "ä\n"


def test_a_restarted_job_goes_on_in_its_next_log(cluster: Cluster):
    cluster.states["7"] = [says("RUNNING"), says("PENDING", "BeginTime"), says("RUNNING"), says("COMPLETED")]
    cluster.writes = {1: ("log-x.sft_7_0.out", b"first\n"), 3: ("log-x.sft_7_1.out", b"second\n")}
    assert wait(cluster, "7")[:2] == (0, "first\nsecond\n")


def test_a_log_longer_than_one_look_is_read_to_its_end(cluster: Cluster):
    text = b"x" * 3_000_000 + b"\n" + b"y" * 10
    cluster.states["7"] = [says("COMPLETED")]
    cluster.writes = {1: ("log-x.sft_7_0.out", text)}
    assert wait(cluster, "7")[1] == text.decode()


def test_another_jobs_log_is_not_read(cluster: Cluster):
    cluster.states["7"] = [says("COMPLETED")]
    cluster.writes = {1: ("log-x.sft_77_0.out", b"not mine\n")}
    assert wait(cluster, "7")[1] == ""


def test_a_failure_is_the_last_thing_waited_for(cluster: Cluster):
    cluster.states = {"7": [says("FAILED", "NonZeroExitCode", "3:0")], "8": [says("PENDING", "Dependency")]}
    assert wait(cluster, "7", "8") == (3, "", ["7 FAILED"])


def test_a_job_that_failed_before_its_stage_shows_what_slurm_complained_of(cluster: Cluster):
    batch_log = "export A=1\n+ export A=1\nsrun --output x bash y\nslurmstepd: error: no such image\n+ exit 1\n"
    cluster.states["7"] = [says("FAILED", "NonZeroExitCode", "1:0")]
    cluster.writes = {1: ("sbatch_x.sft_7.out", batch_log.encode())}
    assert wait(cluster, "7")[:2] == (1, "slurmstepd: error: no such image\n")


def test_a_job_that_failed_in_its_stage_has_said_why(cluster: Cluster):
    cluster.states["7"] = [says("RUNNING"), says("FAILED", "NonZeroExitCode", "1:0")]
    cluster.writes = {1: ("log-x.sft_7_0.out", b"no data\n"), 2: ("sbatch_x.sft_7.out", b"srun: error: node1\n")}
    assert wait(cluster, "7")[:2] == (1, "no data\n")


def test_the_exit_code_of_a_signal_stays_where_nobody_failed_before(cluster: Cluster):
    cluster.states["7"] = [says("FAILED", "NonZeroExitCode", "143:0")]
    assert wait(cluster, "7")[0] == 143


def test_the_exit_code_is_that_of_the_node_that_failed_first(cluster: Cluster):
    said = "srun: error: node1: task 0: Exited with exit code 2\n# Command 1\n\nsrun bash launch.sh\n"
    said += "srun: error: node2: task 1: Exited with exit code 7\nsrun: error: node1: task 0: Terminated\n"
    cluster.states["7"] = [says("FAILED", "NonZeroExitCode", "143:0")]
    cluster.writes = {1: ("sbatch_x.sft_7.out", said.encode())}
    assert wait(cluster, "7")[0] == 7


def test_the_exit_code_of_a_job_that_no_signal_ended_is_its_own(cluster: Cluster):
    """srun tells of a stage that the script then ran again, and that ended in another way."""
    said = "srun: error: node1: task 0: Exited with exit code 7\n"
    cluster.states["7"] = [says("FAILED", "NonZeroExitCode", "2:0")]
    cluster.writes = {1: ("sbatch_x.sft_7.out", said.encode())}
    assert wait(cluster, "7")[0] == 2


def test_without_a_complaint_the_batch_log_is_shown_whole(cluster: Cluster):
    cluster.states["7"] = [says("FAILED", "NonZeroExitCode", "1:0")]
    cluster.writes = {1: ("sbatch_x.sft_7.out", b"+ false\n+ exit 1\n")}
    assert wait(cluster, "7")[1] == "+ false\n+ exit 1\n"


def test_the_accounting_is_asked_when_the_controller_has_forgotten(cluster: Cluster):
    cluster.states["7"] = [says("RUNNING"), "slurm_load_jobs error: Invalid job id specified"]
    cluster.accounting = "TIMEOUT|0:0\n"
    assert wait(cluster, "7")[0] == 1


def test_of_a_job_that_nobody_remembers_its_log_says_how_it_ended(cluster: Cluster):
    cluster.states["7"] = ["slurm_load_jobs error: Invalid job id specified"]
    for code, state in ((0, "COMPLETED"), (3, "FAILED")):
        (cluster.folder / "sbatch_x.sft_7.out").write_text(f"job exited with code {code}\n")
        assert wait(cluster, "7")[::2] == (code, [f"7 {state}"])
    (cluster.folder / "sbatch_x.sft_7.out").write_text("srun: job 7 has been allocated resources\n")
    with pytest.raises(LaunchError, match=r"no longer reports the state of job 7"):
        wait(cluster, "7")


def test_silence_is_borne_for_a_while_and_then_told(cluster: Cluster):
    cluster.states["7"] = [*[""] * 20, says("COMPLETED")]
    assert wait(cluster, "7")[0] == 0
    cluster.states["7"] = [""]
    with pytest.raises(LaunchError, match=r"job 7 \(sft\)"):
        wait(cluster, "7")


def test_a_dropped_connection_is_silence(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    def drop(command: str, **_: object) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(cluster, "run", drop)
    assert ask_state(cluster, "7") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says("CANCELLED", code="0:15"), JobState("CANCELLED", "", 143)),
        (says("OUT_OF_MEMORY", "OutOfMemory", "0:125"), JobState("OUT_OF_MEMORY", "OutOfMemory", 253)),
        (says("TIMEOUT", "TimeLimit", "0:0"), JobState("TIMEOUT", "TimeLimit", 1)),
        (says("COMPLETING", code="0:0"), JobState("COMPLETING", "", 0)),
        ("JobId=7 JobState=COMPLETING", JobState("COMPLETING", "", 0)),
        ("JobId=7 JobState=COMPLETING NodeList=(null) RunTime=0:01", JobState("COMPLETING", elapsed="0:01")),
        ("JobId=7 JobState=COMPLETING NodeList=n[1-2]", JobState("COMPLETING", node="n[1-2]")),
    ],
)
def test_states_have_an_exit_code_of_their_own(cluster: Cluster, answer: str, expected: JobState):
    cluster.states["7"] = [answer]
    assert ask_state(cluster, "7") == expected
    assert expected.is_final == (expected.name != "COMPLETING")


@pytest.mark.parametrize(
    ("name", "is_final"),
    [
        *((name, True) for name in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")),
        *((name, True) for name in ("BOOT_FAIL", "DEADLINE", "PREEMPTED", "FORGOTTEN")),
        *((name, False) for name in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED")),
    ],
)
def test_some_states_of_a_job_are_its_last(name, is_final):
    assert JobState(name).is_final is is_final


@pytest.mark.parametrize(("code", "state"), [(75, "STOPPED"), (130, "CANCELLED"), (1, "FAILED")])
def test_the_state_of_a_stage_of_this_machine_follows_from_its_exit_code(monkeypatch, code, state):
    """75: it was stopped, and continues by the same command. 130: Ctrl-C."""
    codes, seen = iter([0, code, 0]), []
    monkeypatch.setattr("nemotron.launch.jobs.follow.run_to_end", lambda *_: next(codes))
    jobs = tuple(Job(stage, "", "") for stage in ("prep", "sft", "never"))
    ended = follow(
        Submission("s", Profile("local"), jobs, None),
        on_output=print,
        on_state=lambda job, now: seen.append((job.stage, now.name, now.exit_code)),
    )
    assert ended == code
    assert seen == [
        ("prep", "RUNNING", 0), ("prep", "COMPLETED", 0), ("sft", "RUNNING", 0), ("sft", state, code),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (
            "+ srun x\nsrun: error: no room\n+ exit\nlaunch.sh: line 7: x: not found\n",
            "srun: error: no room\nlaunch.sh: line 7: x: not found\n",
        ),
        ("pyxis: importing\n+ exit\n", "pyxis: importing\n"),
        ("enroot[1]: no space\nslurmstepd: killed\n+ exit\n", "enroot[1]: no space\nslurmstepd: killed\n"),
        ("srun: no room\n+ srun x: y\nsruns: y\nx: line : y\nx: line a: y\nmyerror: y\n", "srun: no room\n"),
        ("sbatch: Error: Invalid account", "sbatch: Error: Invalid account"),
        ("+ nothing went wrong\n", "+ nothing went wrong\n"),
    ],
)
def test_of_a_traced_log_the_complaints_are_shown_each_on_its_line(log: str, shown: str):
    assert _pick_errors(log) == shown


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"log-x.sft_7_0.out": "one\nhalf"}, "one\nhalf"),
        ({"log-x.sft_7_0.out": "one\n", "log-x.sft_7_1.out": "two", "sbatch_x.sft_7.out": "srun: error"}, "one\ntwo"),
        ({"sbatch_x.sft_7.out": "+ srun\nsrun: error: no room"}, "srun: error: no room"),
        ({"log-x.sft_77_0.out": "another job's"}, ""),
    ],
)
def test_the_log_so_far_has_its_last_line_too_and_before_the_stage_the_complaints(cluster: Cluster, files, text: str):
    for name, content in files.items():
        (cluster.folder / name).write_text(content)
    assert read_log(cluster, Job("sft", "7", str(cluster.folder))) == text
