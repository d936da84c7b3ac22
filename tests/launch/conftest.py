"""Ground shared by the launch tests: a folder to work in, an env.toml in it, an interpreter that records its call."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nemotron.launch import Profile, Stage, load_profile
from nemotron.launch.stages import PREP_SCRIPT, TRAIN_SCRIPT


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty, with no secret and no env.toml of the machine in sight."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("NEMOTRON_ENV_FILE", "HF_TOKEN", "WANDB_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def profile(work: Path) -> Callable[..., Profile]:
    """profile('nodes = 2') is a Slurm profile `here` with these further lines."""

    def make(*lines: str, executor: str = "slurm") -> Profile:
        (work / "env.toml").write_text("\n".join(["[here]", f'executor = "{executor}"', *lines]))
        return load_profile("here")

    return make


@pytest.fixture
def prep() -> Stage:
    return Stage("prep", PREP_SCRIPT, {"seed": 1}, "tiny", distributed=False)


@pytest.fixture
def sft() -> Stage:
    return Stage("sft", TRAIN_SCRIPT, {"seed": 1}, "tiny", distributed=True)


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """Stands for the interpreter: writes its arguments, folder and environment to $RECORD, exits with $CODE."""
    path = tmp_path / "python"
    path.write_text(
        "#!/usr/bin/env bash\n"
        "[[ $1 == */startup.py ]] && exit 0\n"
        '{ printf "%s\\0" "$*" "$PWD"; env -0; } > "$RECORD"\n'
        'echo "ran $(basename "$RECORD")" >> "$(dirname "$RECORD")/order"\n'
        'exit "${CODE:-0}"\n'
    )
    path.chmod(0o755)
    return path
