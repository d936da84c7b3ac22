"""A running Slurm, or a skip. `.ci/slurm-up` starts a Slurm of two nodes on Debian."""

import getpass
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nemotron.launch import Profile, load_profile

HERE = "tests/launch/slurm/"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.nodeid.startswith(HERE)]
    answers = bool(ours) and _slurm_answers()
    for item in ours:
        item.add_marker(pytest.mark.slurm)
        if not answers:
            item.add_marker(pytest.mark.skip(reason="no Slurm answers here; see .ci/slurm-up"))


def _slurm_answers() -> bool:
    if not (shutil.which("sbatch") and shutil.which("sinfo")):
        return False
    try:
        return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(autouse=True)
def nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cancel what a test that failed has left, for whose nodes others would wait; a job from elsewhere stays."""
    yield
    squeue = ["squeue", "-h", f"--user={getpass.getuser()}", "-o", "%i %Z"]
    listed = subprocess.run(squeue, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    ours = f"{tmp_path_factory.getbasetemp()}/"
    if left := [job for job, _, folder in (line.partition(" ") for line in listed) if folder.startswith(ours)]:
        subprocess.run(["scancel", *left], check=True, timeout=60)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty, which the job shares."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.parent / f"{tmp_path.name}-state"))
    monkeypatch.delenv("NEMOTRON_ENV_FILE", raising=False)
    return tmp_path


@pytest.fixture
def profile(work: Path) -> Callable[..., Profile]:
    """profile({'sft': 'echo hi'}) is a Slurm profile whose stages run these shell lines for their scripts.

    Further arguments are lines of the profile's table.
    """

    def make(bodies: dict[str, str], *lines: str) -> Profile:
        text = ["[here]", 'executor = "slurm"', *lines]
        for stage, body in bodies.items():
            script = work / f"{stage}.sh"
            script.write_text(f"#!/bin/bash\n[[ $1 == */startup.py ]] && exit 0\n{body}\n")
            script.chmod(0o755)
            text += [f"[here.{stage}]", f'python = "{script}"']
        (work / "env.toml").write_text("\n".join(text))
        return load_profile("here")

    return make
