"""Megatron-Bridge's curves in our own W&B run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run


@contextmanager
def log_curves_to(run: "Run | None") -> Iterator[None]:
    """Have Megatron-Bridge log curves to `run`, and do nothing else in W&B.

    By itself it opens a run of its own (training/state.py), which it ends before the model is recorded, and in which
    it logs and uses every checkpoint as an artifact named after its folder (training/utils/wandb_utils.py).

    Args:
        run: The open run, on the rank that has it; None leaves W&B out.
    """
    from megatron.bridge.training.state import GlobalState
    from megatron.bridge.training.utils import wandb_utils

    curves = None if run is None else run.curves()
    replaced: list[tuple[Any, str, Any]] = [
        (GlobalState, "wandb_logger", property(lambda state: curves)),
        (wandb_utils, "on_save_checkpoint_success", _do_nothing),
        (wandb_utils, "on_load_checkpoint_success", _do_nothing),
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _do_nothing(*_: Any, **__: Any) -> None:
    """Stand in for what logs a checkpoint as an artifact, or marks it as used."""
