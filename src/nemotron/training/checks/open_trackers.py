"""Open what a run is tracked in before it trains.

To say in a sentence why it cannot be.
"""

import os
from typing import Any

from nemotron.errors import UserError


def open_mlflow(logs: Any) -> None:
    """Find or make the MLflow experiment, on the rank that will log to it.

    That is the last one.

    Args:
        logs: Megatron-Bridge's LoggerConfig.

    Raises:
        UserError: MLflow cannot use its store.
    """
    if not logs.mlflow_experiment or os.environ.get("RANK", "0") != str(int(os.environ.get("WORLD_SIZE", "1")) - 1):
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
