import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import nemotron.training.recipe.preview
from nemotron.cli.app import run
from nemotron.training.recipe.diff import Change


def work_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands in a folder, without the caller's environment."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder.parent / f"{folder.name}-state"))
    for name in ("NEMO_RUN_DIR", "NEMOTRON_ARTIFACTS", "NEMOTRON_DEBUG", "NEMOTRON_ENV_FILE", "WANDB_PROJECT", "RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def nothing_from_outside(tmp_path, monkeypatch):
    """Every command runs in an empty folder, without the caller's environment."""
    work_in(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of `data prep sft -c tiny`, which no test changes."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as monkeypatch:
        work_in(folder, monkeypatch)
        assert run(["super3", "data", "prep", "sft", "-c", "tiny", "workers=1"]) == 0
    return folder / "output"


@pytest.fixture
def prepare_tiny(prepared: Path, tmp_path: Path) -> Callable[[], None]:
    """Put the prepared tiny data where `data prep sft -c tiny` would in the test's folder."""

    def prepare() -> None:
        shutil.copytree(prepared, tmp_path / "output", symlinks=True)

    return prepare


@pytest.fixture(autouse=True)
def compared(monkeypatch):
    """Comparing with Megatron-Bridge's recipe imports it, which takes most of a minute; tests/megatron does it."""
    change = Change("optimizer.lr", 5e-06, 1e-05)
    monkeypatch.setattr(nemotron.training.recipe.preview, "recipe_changes", lambda *arguments: [change])
