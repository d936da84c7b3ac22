"""Refuse settings of MLflow and Comet with which nothing would be recorded.

Megatron-Bridge logs to both; its own checks come after minutes, and pass over settings that have no effect.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nemotron.errors import Problem
from nemotron.training.config import SftConfig


@dataclass(frozen=True)
class Tracker:
    """An experiment tracker that Megatron-Bridge logs to."""

    name: str
    prefix: str
    switch: str
    """The key that turns it on; the others do nothing by themselves."""
    module: str
    package: str


TRACKERS = (
    Tracker("MLflow", "mlflow_", "mlflow_experiment", "mlflow", "mlflow"),
    Tracker("Comet", "comet_", "comet_project", "comet_ml", "comet-ml"),
)
COMET_KEY = "COMET_API_KEY"
_TAGS: dict[str, tuple[type, str]] = {
    "mlflow_tags": (dict, "names and texts, such as {team: chat}"),
    "comet_tags": (list, "a list of texts, such as [chat, tiny]"),
}


def check_trackers(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem for each setting of a tracker that is off.

    And for a key in the config.
    """
    logger = config.logger
    if logger.get("comet_api_key") is not None:
        yield Problem(
            "logger.comet_api_key is set: the config of a run is written in many places.",
            f"Leave it out, and set the variable {COMET_KEY}.",
        )
    for tracker in TRACKERS:
        given = [key for key, value in logger.items() if key.startswith(tracker.prefix) and value is not None]
        idle = [key for key in given if key not in ("comet_api_key", "mlflow_log_artifacts")]
        if idle and not logger.get(tracker.switch):
            yield Problem(
                f"logger.{idle[0]} is set, but without logger.{tracker.switch} nothing is recorded in {tracker.name}.",
                f"Set logger.{tracker.switch}, or leave logger.{idle[0]} out.",
            )
    for key, (kind, wanted) in _TAGS.items():
        value = logger.get(key)
        if value is not None and not (isinstance(value, kind) and all(isinstance(text, str) for text in _texts(value))):
            yield Problem(f"logger.{key} is {value!r}.", f"Give {wanted}.")


def _texts(value: Any) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else value
