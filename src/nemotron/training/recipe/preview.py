"""Compare the config of a run with Megatron-Bridge's recipe, for a dry run."""

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec

from nemotron.config import Loaded
from nemotron.errors import UserError
from nemotron.training.backend import BackendName, adapt, importable, missing_packages
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.divisibility import fewest_ranks
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.recipe.diff import Change


def recipe_changes(
    loaded: Loaded[SftConfig],
    plan: Plan,
    data: PreparedData,
    run: RunFolder,
    ranks: int | None,
    backend: BackendName | None,
) -> list[Change]:
    """List how the run differs from Megatron-Bridge's recipe.

    Importing Megatron takes 20 to 50 seconds.

    Args:
        ranks: Number of processes; None takes the fewest that the layout allows.
        backend: What the run will compute on; None for the production stack of another machine, whose packages are not
            known here.

    Raises:
        UserError: Megatron-Bridge is not installed, or training would refuse the config.
    """
    if find_spec("megatron") is None or find_spec("megatron.bridge") is None:
        raise UserError("Megatron-Bridge is not installed here.", "Run uv sync, or see docs/install.md.")
    config = loaded.config
    with _silence(), _ranks(ranks or fewest_ranks(config)), importable(_importable_here(backend or "production")):
        from nemotron.training.recipe.build import build_recipe
        from nemotron.training.weights.random_init import start_folder

        start = plan.start.checkpoint
        recipe = build_recipe(config, plan, data, run, loaded.origins, start if start and start.exists() else None)
        if start is None and config.recipe.random_start is not None:
            # Created when the run starts.
            start = start_folder(config.recipe.hf_model, run.output.parent / "start", config.recipe.random_start)
        recipe.container.checkpoint.pretrained_checkpoint = None if start is None else str(start)
        if backend is not None:
            adapt(recipe.container, backend)
        return recipe.changes()


def _importable_here(backend: BackendName) -> BackendName:
    """Choose a backend with which Megatron can be imported on this machine."""
    from nemotron.training import cpu

    if cpu.is_needed():
        return "cpu"
    return "torch" if backend == "production" and missing_packages() else backend


@contextlib.contextmanager
def _ranks(count: int) -> Iterator[None]:
    before = os.environ.get("WORLD_SIZE")
    os.environ["WORLD_SIZE"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["WORLD_SIZE"]
        else:
            os.environ["WORLD_SIZE"] = before


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard output: Megatron and its dependencies print hundreds of warnings."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
