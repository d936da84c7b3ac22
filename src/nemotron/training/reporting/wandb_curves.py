"""Log Megatron-Bridge's curves to our W&B run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run


@contextmanager
def log_curves_to(run: "Run | None") -> Iterator[None]:
    """Have Megatron-Bridge log curves to `run`, and do nothing else in W&B.

    Otherwise Megatron-Bridge would open another run (training/state.py), end it before the model is recorded, and log
    and use every checkpoint as an artifact named after its folder (training/utils/wandb_utils.py).

    Args:
        run: The open run, on the rank that has it; None turns W&B off.
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
    """Replace the functions that log a checkpoint as an artifact or mark it as used."""
