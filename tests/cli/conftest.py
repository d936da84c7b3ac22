import pytest

import nemotron.training.recipe.preview
from nemotron.training.recipe.diff import Change


@pytest.fixture(autouse=True)
def nothing_from_outside(tmp_path, monkeypatch):
    """Every command runs in an empty folder, without the caller's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.parent / f"{tmp_path.name}-state"))
    for name in ("NEMO_RUN_DIR", "NEMOTRON_ARTIFACTS", "NEMOTRON_DEBUG", "NEMOTRON_ENV_FILE", "WANDB_PROJECT", "RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def compared(monkeypatch):
    """Comparing with Megatron-Bridge's recipe imports it, which takes most of a minute; tests/megatron does it."""
    change = Change("optimizer.lr", 5e-06, 1e-05)
    monkeypatch.setattr(nemotron.training.recipe.preview, "recipe_changes", lambda *arguments: [change])
