"""A token planted in each place where a user can put one: whatever is run then, no line and no file has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nemotron.cli.app import run

PLANTED = "PLANTED"
"""In every planted value, and nowhere else."""
ENVIRONMENT = {
    "HF_TOKEN": "hf_PLANTEDenvironment01",
    "WANDB_API_KEY": "PLANTED02" * 5,
    "AWS_SECRET_ACCESS_KEY": "PLANTED03/with+signs",
    "MY_PASSWORD": "PLANTED04password",
}
PREP = ["tokenizer.revision=hf_PLANTEDrevision05"]
TRAIN = [
    "env_vars.MY_LOGIN=PLANTED06login",
    "env_vars.SHORT=PLANTED",
    "env_vars.SECOND_TOKEN=PLANTED07token",
    "env_vars.DATABASE=postgres://me:PLANTED08pw@host/db",
    "logger.wandb_exp_name=tiny-${oc.env:MY_PASSWORD}",
    "tokenizer.hf_tokenizer_kwargs={token: PLANTED09token}",
]
MISTAKES = [
    ["data", "prep", "sft", "-c", "tiny", "s3://AKIAKEY:PLANTED10secret@bucket/chat.jsonl"],
    ["sft", "-c", "tiny", "train.train_iters=PLANTED04password"],
    ["sft", "-c", "tiny", "hf_PLANTEDargument11"],
    ["sft", "-c", "tiny", "logger.wandb_api_key=PLANTED12key"],
    ["sft", "-c", "tiny", "run.output_dir=https://PLANTED13user@host/out", "--dry-run"],
]


def leaks(folder: Path) -> dict[str, bytes]:
    """What files and their names have of planted values."""
    found = {str(path): b"" for path in folder.rglob(f"*{PLANTED}*")}
    for path in folder.rglob("*"):
        if path.is_file() and (at := (content := path.read_bytes()).find(PLANTED.encode())) >= 0:
            found[str(path)] = content[max(0, at - 80) : at + 40]
    return found


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and secrets in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("NEMOTRON_ARTIFACTS", "NEMOTRON_ENV_FILE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("nemotron.secrets._remembered", set())
    for name, value in {**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path / "state"), "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_plans_mistakes_and_data_prep_have_none(planted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for options in (["--dry-run"], ["--dry-run", "--json"], []):
        assert run(["super3", "data", "prep", "sft", "-c", "tiny", *PREP, *options]) == 0
    for options in (["--dry-run"], ["--dry-run", "--json"]):
        assert run(["super3", "sft", "-c", "tiny", *TRAIN, *options]) == 0
    for mistake in MISTAKES:
        run(["super3", *mistake])
    printed = capfd.readouterr()
    assert "***" in printed.out
    assert PLANTED not in printed.out + printed.err
    assert leaks(planted) == {}


def test_a_job_is_not_given_a_config_with_secrets(planted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (planted / "env.toml").write_text('[here]\nexecutor = "slurm"\nsecrets = ["MY_PASSWORD"]\n')
    for settings in TRAIN:
        assert run(["super3", "sft", "-c", "tiny", settings, "--batch", "here", "--dry-run"]) == 1
    assert run(["super3", "data", "prep", "sft", "-c", "tiny", "--batch", "here", "--dry-run", "--script"]) == 0
    printed = capfd.readouterr()
    assert "MY_PASSWORD" in printed.out
    assert PLANTED not in printed.out + printed.err
    assert leaks(planted) == {}


@pytest.mark.megatron
@pytest.mark.parametrize("verbose", ["", "1"])
def test_training_wandb_and_the_export_have_none(planted: Path, verbose: str) -> None:
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_PROJECT": "tiny", "NEMOTRON_VERBOSE": verbose}
    printed = ""
    for arguments in (
        ["data", "prep", "sft", "-c", "tiny", *PREP],
        ["sft", "-c", "tiny", "train.train_iters=2", "convert_to_hf.enabled=true", *TRAIN],
        ["model", "export", "output/tiny/sft", "-o", "again"],
    ):
        command = [sys.executable, "-m", "nemotron", "super3", *arguments]
        done = subprocess.run(
            command, cwd=planted, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
        printed += done.stdout
    assert list(planted.rglob("run-*.wandb"))
    assert list(planted.glob("again/README.md"))
    assert PLANTED not in printed
    assert leaks(planted) == {}
