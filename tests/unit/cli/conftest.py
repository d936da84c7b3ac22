import pytest


@pytest.fixture(autouse=True)
def nothing_from_outside(tmp_path, monkeypatch):
    """Every command runs in an empty folder, without the caller's environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("NEMO_RUN_DIR", "NEMOTRON_ARTIFACTS", "NEMOTRON_DEBUG", "NEMOTRON_ENV_FILE", "WANDB_PROJECT", "RANK"):
        monkeypatch.delenv(name, raising=False)
