"""Megatron-Bridge's config without secrets, where it writes one.

run_config.yaml of checkpoints, W&B, MLflow.
"""

from functools import wraps
from typing import Any

from nemotron.secrets import mask_values


def mask_what_is_written(container_class: Any) -> None:
    """Have `ConfigContainer.to_dict` mask secrets. Twice changes nothing.

    Both lines write their config by it.
    """
    to_dict = container_class.to_dict
    if hasattr(to_dict, "__wrapped__"):
        return

    @wraps(to_dict)
    def without_secrets(container: Any) -> dict[str, Any]:
        return mask_values(to_dict(container))

    container_class.to_dict = without_secrets
