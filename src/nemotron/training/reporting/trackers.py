"""Where the curves of a run go: our W&B run, and the experiment of MLflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nemotron.errors import UserError
from nemotron.training.ranks import is_last

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


def open_mlflow(logs: Any) -> None:
    """Find or make the MLflow experiment, on the rank that will log to it.

    That is the last one.

    Args:
        logs: Megatron-Bridge's LoggerConfig.

    Raises:
        UserError: MLflow cannot use its store.
    """
    if not logs.mlflow_experiment or not is_last():
        return
    import mlflow  # pyright: ignore[reportMissingImports]

    try:
        if logs.mlflow_tracking_uri:
            mlflow.set_tracking_uri(logs.mlflow_tracking_uri)
        mlflow.set_experiment(logs.mlflow_experiment)
    except Exception as error:  # of MLflow, its databases or its HTTP client
        raise UserError(
            f"logger.mlflow_experiment is {logs.mlflow_experiment}, and MLflow cannot open it at "
            f"{mlflow.get_tracking_uri()}: {str(error).strip().splitlines()[0].rstrip('.')}.",
            "Correct logger.mlflow_tracking_uri or MLFLOW_TRACKING_URI, or leave logger.mlflow_experiment out.",
        ) from None
