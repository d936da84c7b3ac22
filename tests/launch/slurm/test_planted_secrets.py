"""A token planted in the environment and in the profile of a job: no file it leaves, and no line of its log, has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROFILE = """
[here]
executor = "slurm"
secrets = ["MY_PASSWORD"]
env_vars = { API_KEY = "PLANTED01key", DATABASE = "postgres://me:PLANTED02pw@host/db" }
"""


def test_a_job_that_prepares_data_leaves_none(
    work: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path_factory.mktemp("profiles") / "env.toml"  # where the user wrote them
    profile.write_text(PROFILE)
    monkeypatch.setenv("HF_TOKEN", "hf_PLANTEDtoken03")
    monkeypatch.setenv("MY_PASSWORD", "PLANTED04password")
    command = [sys.executable, "-m", "nemotron", "super3", "data", "prep", "sft", "-c", "tiny", "--run", "here"]
    environment = {**os.environ, "NEMOTRON_ENV_FILE": str(profile)}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "PLANTED" not in done.stdout + done.stderr
    assert list(work.rglob("*_sbatch.sh"))
    assert [path for path in work.rglob("*") if path.is_file() and b"PLANTED" in path.read_bytes()] == []
