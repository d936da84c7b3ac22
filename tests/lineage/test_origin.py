"""What an artifact says of the code, the command and the machine that made it."""

import json
import subprocess
from importlib.metadata import PackageNotFoundError

import pytest

from nemotron.lineage import origin
from nemotron.lineage.origin import CODE_RECORD, describe_code, describe_command, describe_job


@pytest.fixture
def code(monkeypatch, tmp_path):
    """Describes the code of a package that git answers for: `code({"rev-parse": "abc"})`; None where git fails."""
    monkeypatch.setattr(origin, "PACKAGE", tmp_path)
    monkeypatch.setattr(origin, "version", lambda name: "1.2")

    def describe(answers):
        monkeypatch.setattr(origin, "_git", lambda command, *_: answers.get(command))
        getattr(describe_code, "cache_clear", lambda: None)()
        return describe_code()

    yield describe
    getattr(describe_code, "cache_clear", lambda: None)()


@pytest.mark.parametrize(("status", "modified"), [("", False), (" M run.py", True)])
def test_a_checkout_is_a_commit_and_whether_it_was_changed(code, status, modified):
    found = code({"ls-files": "__init__.py", "rev-parse": "abc", "status": status})
    assert found == {"package": "nemotron 1.2", "commit": "abc", "modified": modified}


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"rev-parse": "abc", "status": ""},  # installed inside another project's checkout
        {"ls-files": "__init__.py"},
        {"ls-files": "__init__.py", "rev-parse": ""},
    ],
)
def test_without_a_commit_of_its_own_it_is_a_release(code, answers):
    assert code(answers) == {"package": "nemotron 1.2"}


def test_code_that_was_sent_with_a_job_is_what_was_submitted(code, tmp_path):
    (tmp_path / CODE_RECORD).write_text(json.dumps({"commit": "of the submission"}))
    assert code({"ls-files": "", "rev-parse": "abc"}) == {"commit": "of the submission"}
    (tmp_path / CODE_RECORD).write_text("{")
    assert code({})["package"] == "nemotron 1.2"


@pytest.mark.parametrize("error", [None, OSError(), subprocess.TimeoutExpired("git", 10)])
def test_git_is_asked_in_the_packages_folder_and_may_fail(monkeypatch, error):
    asked = []

    def run(command, **options):
        asked.append((command, options))
        if error:
            raise error
        return subprocess.CompletedProcess(command, 0, stdout="abc\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert origin._git("rev-parse", "HEAD") == (None if error else "abc")
    options = {"capture_output": True, "text": True, "timeout": 10, "check": True}
    assert asked == [(["git", "-C", str(origin.PACKAGE), "rev-parse", "HEAD"], options)]


def test_code_that_was_never_installed_has_no_version(code, monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(origin, "version", version)
    assert code({}) == {"package": "nemotron"}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/bin/nemotron", "super3", "sft", "a=b c"], "nemotron super3 sft 'a=b c'"),
        (["/src/nemotron/__main__.py", "x"], "nemotron x"),
        (["nemotron", "data=s3://KEY:SECRET@bucket/x", "s3://A:B@c"], "nemotron 'data=s3://***@bucket/x' 's3://***@c'"),
        (["/src/data_prep.py", "--config", "c.yaml"], "data_prep.py --config c.yaml"),
        (["nemotron", "+env_vars.HF_TOKEN=planted", "--wandb-api-key=planted"], None),
    ],
)
def test_a_command_can_be_typed_again_and_has_no_secret(argv, shown):
    if shown is None:
        assert describe_command(argv) == "nemotron '+env_vars.HF_TOKEN=***' '--wandb-api-key=***'"
    else:
        assert describe_command(argv) == shown


def test_a_secret_that_is_not_given_is_not_masked():
    assert describe_command(["nemotron", "env_vars.HF_TOKEN=", "env_vars.HF_TOKEN"]) == (
        "nemotron env_vars.HF_TOKEN= env_vars.HF_TOKEN"
    )


def test_a_job_is_one_of_slurm_or_of_this_machine(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "node1")
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert describe_job() == {"kind": "local", "id": "local", "host": "node1"}
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    assert describe_job() == {"kind": "slurm", "id": "42", "host": "node1"}
    monkeypatch.setenv("SLURM_JOB_NAME", "sft")
    assert describe_job() == {"kind": "slurm", "id": "42", "name": "sft", "host": "node1"}
