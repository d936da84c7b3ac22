"""Secrets: collected from the environment, handed over in a private file."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemotron.errors import UserError
from nemotron.launch.secrets import collect_secrets, put_secrets, source_secrets


class Tunnel:
    """What NeMo-Run's local tunnel does, recording the command lines."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def run(self, command: str, **_: object) -> None:
        self.commands.append(command)
        subprocess.run(command, shell=True, check=True)

    def put(self, source: str, target: str) -> None:
        shutil.copy(source, target)


def test_secrets_are_the_usual_ones_the_named_ones_and_the_profiles_own(profile):
    named = profile('secrets = ["MINE"]', 'env_vars = { WANDB_API_KEY = "from the profile" }')
    environment = {"HF_TOKEN": "h", "MINE": "m", "HOME": "/", "WANDB_API_KEY": "from the environment"}
    assert collect_secrets(named, environment) == {"HF_TOKEN": "h", "MINE": "m", "WANDB_API_KEY": "from the profile"}


def test_a_named_secret_that_is_not_set_is_told_before_anything_is_submitted(profile):
    with pytest.raises(UserError, match=r"env\.toml.*\bMINE\b"):
        collect_secrets(profile('secrets = ["MINE"]'), {})


def test_the_file_is_private_and_no_command_holds_a_secret(tmp_path: Path):
    tunnel, path = Tunnel(), tmp_path / "a" / "b.secrets"
    before = os.umask(0o022)
    try:
        put_secrets(tunnel, str(path), {"HF_TOKEN": "s3cret"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert "s3cret" in path.read_text()
    assert "s3cret" not in "".join(tunnel.commands)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=30))
def test_a_script_that_traces_everything_reads_them_untold(tmp_path: Path, value: str):
    path = tmp_path / "secrets"
    put_secrets(Tunnel(), str(path), {"A": f"begin{value}end"})
    script = "\n".join(["set -vx", *source_secrets(str(path)), "exitcode=0", "env -0 > seen"])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"A=begin{value}end".encode() in (tmp_path / "seen").read_bytes().split(b"\0")
    assert "begin" not in done.stdout + done.stderr


@pytest.mark.parametrize(("code", "left"), [(0, False), (1, False), (143, True)])
def test_the_file_is_left_only_to_a_killed_job_which_may_run_again(tmp_path: Path, code: int, left: bool):
    path = tmp_path / "secrets"
    put_secrets(Tunnel(), str(path), {"A": "1"})
    script = "\n".join([*source_secrets(str(path)), f"exitcode={code}", f"exit {code}"])
    assert subprocess.run(["bash", "-c", script], check=False, capture_output=True).returncode == code
    assert path.exists() == left


USUAL = (
    *("HF_TOKEN", "WANDB_API_KEY", "COMET_API_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    *("MLFLOW_TRACKING_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)


def test_every_usual_secret_is_handed_on_and_no_other_variable(profile):
    environment = dict.fromkeys((*USUAL, "HOME", "AWS_PROFILE", "MY_TOKEN"), "x")
    assert collect_secrets(profile(), environment) == dict.fromkeys(USUAL, "x")
