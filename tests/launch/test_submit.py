"""Submitting: to this machine for real, to a cluster as far as its answers go (tests/launch/slurm has a real one)."""

import contextlib
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.errors import UserError
from nemotron.launch import LaunchError, follow, place, submit
from nemotron.launch.executors.slurm import _federated_ids
from nemotron.launch.submit import _slurm_id, batch_scripts

COMMANDS = {
    # Accepts the first job, as one of a federation, and refuses the second, as Slurm words it.
    "sbatch": 'echo "$0 $*" >> "$CALLS"; [ "$(grep -c sbatch "$CALLS")" = 1 ] && echo "41;east" && exit 0\n'
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


@pytest.mark.slow  # imports NeMo-Run
def test_a_refusal_is_reported_in_slurms_words_and_takes_back_what_was_done(
    profile, prep, sft, fake_slurm: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    with pytest.raises(LaunchError) as caught:
        submit(place([prep, sft], profile('account = "nobody"'), attached=False))
    assert caught.value.message.endswith("sbatch: error: Batch job submission failed: Invalid account")
    assert "[here]" in str(caught.value.hint)
    *_, second, cancelled = fake_slurm.read_text().splitlines()
    assert "--dependency=afterok:41 " in second
    assert cancelled == "scancel 41"
    assert not list(Path("output").rglob("*.secrets"))


def test_a_container_on_a_cluster_without_them_is_refused_with_the_way_out(profile, sft, fake_slurm: Path):
    here = profile('container_image = "image"')
    with pytest.raises(LaunchError, match=r"\bimage\b.*\bhere\b") as caught:
        submit(place([sft], here, attached=True))
    assert 'container_image = "none"' in str(caught.value.hint)
    assert not fake_slurm.exists()


def test_a_cluster_that_cannot_be_reached_is_named(profile, sft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "rsync").symlink_to("/bin/true")  # it is looked for, not used: not every machine has one
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path}")
    lines = ['tunnel = "ssh"', 'host = "127.0.0.1"', "port = 1", 'user = "me"', 'remote_job_dir = "/jobs"']
    with pytest.raises(LaunchError, match=r"me@127\.0\.0\.1.*port 1"):
        submit(place([sft], profile(*lines), attached=True))


@pytest.mark.parametrize("number", ["123", "123;east"])  # as a federation of clusters says it
def test_the_number_of_a_job_is_told_from_its_cluster(number: str):
    assert _slurm_id(f"slurm_tunnel://nemo_run/{number}") == "123"


def test_a_job_waits_for_the_number_alone():
    class Executor:
        def parse_deps(self):
            return ["41;east", "42"]

    with _federated_ids(Executor):
        assert Executor().parse_deps() == ["41", "42"]
    assert Executor().parse_deps() == ["41;east", "42"]


ROOM = sys.modules["nemotron.launch.submit"]  # the package has a function of this name


class Tunnel:
    """A connection to a cluster: notes commands; those that hold a word of `fails` fail."""

    job_dir = "/jobs/the experiment"

    def __init__(self):
        self.commands, self.fails = [], "nothing"

    def run(self, command, **options):
        assert options == {"hide": True, "warn": True, "in_stream": False}
        self.commands.append(command)
        return SimpleNamespace(ok=self.fails not in command)


@pytest.fixture
def cluster(monkeypatch):
    """A cluster behind ssh: `steps` has what is asked of it, `refuses` an error of submitting."""
    cluster = SimpleNamespace(
        tunnel=Tunnel(), steps=[], refuses=None, handles=["slurm://nemo_run/41", "slurm://x/42;east"]
    )

    @contextlib.contextmanager
    def open_experiment(placements):
        executor = SimpleNamespace(tunnel=cluster.tunnel)
        jobs = [SimpleNamespace(executor=executor, handle=handle) for handle in cluster.handles[: len(placements)]]
        cluster.opened = SimpleNamespace(jobs=jobs, run=run, tunnels={"kept": "open"})
        yield cluster.opened

    def run(detach):
        cluster.steps.append(("run", detach))
        if cluster.refuses:
            raise cluster.refuses

    monkeypatch.setattr(ROOM, "open_experiment", open_experiment)
    monkeypatch.setattr(ROOM, "check_host", lambda profile, pythons: cluster.steps.append(("host", pythons)))
    monkeypatch.setattr(ROOM, "put_secrets", lambda *arguments: cluster.steps.append(("secrets", *arguments)))
    monkeypatch.setattr(ROOM, "find_job_id", lambda tunnel, folder: "43" if "/sft" in folder else None)
    return cluster


BEHIND_SSH = ('tunnel = "ssh"', 'host = "h"', 'user = "me"', 'remote_job_dir = "/jobs"', 'python = "/opt/python"')


def test_jobs_are_submitted_and_named_with_what_they_write(profile, prep, sft, cluster):
    placements = place([prep, sft], profile(*BEHIND_SSH), attached=False)
    submission = submit(placements)
    assert cluster.steps == [("host", ["/opt/python", "/opt/python"]), ("run", True)]
    assert cluster.tunnel.commands == ["chmod 700 '/jobs/the experiment'/*_sbatch.sh"]
    assert (submission.name, submission.profile) == (placements[0].experiment, placements[0].profile)
    assert submission.tunnel is cluster.tunnel
    assert cluster.opened.tunnels == {}  # the end of the experiment would close it
    assert [(job.stage, job.id, job.folder, job.secrets_file) for job in submission.jobs] == [
        ("prep", "41", "/jobs/the experiment/prep", ""),
        ("sft", "42", "/jobs/the experiment/sft", ""),
    ]
    assert [job.writes for job in submission.jobs] == [tuple(placed.writes.values()) for placed in placements]


@pytest.mark.parametrize(("lines", "dry", "stays"), [((), False, True), ((), True, False), (BEHIND_SSH, False, False)])
def test_nemo_run_writes_to_the_folder_of_the_jobs_where_sbatch_runs_here(profile, sft, monkeypatch, lines, dry, stays):
    """It copies nothing then; elsewhere, and in a dry run, what it writes goes away."""
    placements = place([sft], profile(*lines), attached=True)
    given, temporary = [], []
    monkeypatch.setattr(ROOM, "write_package", lambda folder, placement: temporary.append(folder.parent.parent))
    monkeypatch.setattr(
        ROOM, "open_slurm_experiment", lambda *arguments: given.append(arguments) or contextlib.nullcontext("opened")
    )
    with ROOM.open_experiment(placements, dry=dry) as opened:
        assert opened == "opened"
        assert temporary[0].is_dir()
    staging = Path(placements[0].root).parent if stays else temporary[0]
    assert given == [(placements, temporary[0] / "packages", staging)]
    assert not temporary[0].exists()


def test_secrets_are_put_next_to_each_job_before_it_is_submitted(profile, prep, sft, cluster, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    placements = place([prep, sft], profile(*BEHIND_SSH), attached=False)
    submission = submit(placements)
    put = [("secrets", cluster.tunnel, placed.secrets_file, placed.secrets) for placed in placements]
    assert cluster.steps[1:] == [*put, ("run", True)]
    assert [job.secrets_file for job in submission.jobs] == [placed.secrets_file for placed in placements]


def test_one_job_with_a_secret_is_enough_for_each_to_have_its_file(profile, prep, sft, cluster, monkeypatch):
    monkeypatch.setenv("MINE", "s3cret")
    mine = profile(*BEHIND_SSH, "[here.sft]", 'secrets = ["MINE"]')
    placements = place([prep, sft], mine, attached=False)
    assert [placed.secrets for placed in placements] == [{}, {"MINE": "s3cret"}]
    submit(placements)
    assert [step[0] for step in cluster.steps[1:]] == ["secrets", "secrets", "run"]


def failed(stderr):
    """The error of a command that ran on the cluster."""
    error = RuntimeError("a command failed")
    error.result = SimpleNamespace(stderr=stderr)
    return error


def test_what_was_accepted_of_a_refused_submission_is_cancelled(profile, prep, sft, cluster):
    """NeMo-Run may not know the number of a job that Slurm has accepted."""
    cluster.refuses, cluster.handles = failed("one\ntwo\nsbatch: error: no\nQuota exceeded\n"), ["slurm://x/41", ""]
    placements = place([prep, sft], profile(*BEHIND_SSH), attached=False)
    with pytest.raises(LaunchError, match=r"two; sbatch: error: no; Quota exceeded ") as caught:
        submit(placements)
    assert "one" not in caught.value.message.split()
    files = " ".join(placed.secrets_file for placed in placements)
    assert cluster.tunnel.commands == [f"rm -f {files}; scancel 41 43"]


def test_only_what_has_a_number_is_cancelled(profile, prep, sft, cluster, monkeypatch):
    cluster.refuses, cluster.handles = KeyboardInterrupt(), ["slurm://x/41", ""]
    monkeypatch.setattr(ROOM, "find_job_id", lambda tunnel, folder: None)
    placements = place([prep, sft], profile(*BEHIND_SSH), attached=False)
    with pytest.raises(KeyboardInterrupt):
        submit(placements)
    assert cluster.tunnel.commands[0].endswith("; scancel 41")


def test_an_interrupted_submission_is_taken_back(profile, prep, cluster):
    cluster.refuses, cluster.handles = KeyboardInterrupt(), [""]
    placements = place([prep], profile(*BEHIND_SSH), attached=False)
    with pytest.raises(KeyboardInterrupt):
        submit(placements)
    assert cluster.tunnel.commands == [f"rm -f {placements[0].secrets_file}"]  # there is no job to cancel


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("no route."), "me@h, the host of profile here, cannot be reached: no route. "),
        (SystemExit(1), "refused the login"),
        (TimeoutError(), "cannot be reached: TimeoutError. "),
        (failed("bash: sbatch: command not found"), "sbatch, which is not installed"),
        (failed(""), "RuntimeError: a command failed"),
    ],
)
def test_why_nothing_was_submitted_is_said(profile, prep, cluster, error, message):
    cluster.refuses = error
    with pytest.raises(LaunchError, match=re.escape(message)):
        submit(place([prep], profile(*BEHIND_SSH), attached=False))
    reached = hasattr(error, "result")
    assert bool(cluster.tunnel.commands) is reached  # only what can be reached is cleaned up


def test_a_users_mistake_stays_what_it_is(profile, prep, cluster):
    cluster.refuses = UserError("Not this.", "That.")
    with pytest.raises(UserError, match=r"^Not this\. That\.$") as caught:
        submit(place([prep], profile(*BEHIND_SSH), attached=False))
    assert type(caught.value) is UserError


def test_a_container_is_asked_for_before_anything_is_submitted(profile, prep, cluster):
    image = (*BEHIND_SSH, 'container_image = "img"')
    cluster.tunnel.fails = "--container-image"
    with pytest.raises(LaunchError, match=r"container img.*profile here"):
        submit(place([prep], profile(*image), attached=False))
    assert cluster.steps == [("host", [])]
    cluster.tunnel.fails = "nothing"
    submit(place([prep], profile(*image), attached=False))
    assert cluster.steps[-1] == ("run", True)


def test_other_executors_have_no_batch_scripts(profile, prep):
    assert batch_scripts(place([prep], profile(executor="local"), attached=True)) == {}
