"""Mask secrets in the config that Megatron-Bridge writes.

It goes to run_config.yaml of checkpoints, W&B and MLflow.
"""

import os
from collections.abc import Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

from nemotron.secrets import holds_secret, is_secret, mask_values
from nemotron.training import bridge

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer


def keep_secrets_out(container: "ConfigContainer", variables: Mapping[str, Any]) -> None:
    """Set the variables of `env_vars`, and mask secrets where the config is written.

    Secret variables are set in this process: those of the config are written with it.
    """
    _mask_what_is_written(type(container))
    secret = {
        name: value
        for name, value in variables.items()
        if isinstance(value, str) and (is_secret(f"env_vars.{name}") or holds_secret(value))
    }
    for name, value in secret.items():
        os.environ.setdefault(name, value)
    bridge.installed().set_environment(container, {k: v for k, v in variables.items() if k not in secret})


def _mask_what_is_written(container_class: Any) -> None:
    """Have `ConfigContainer.to_dict` mask secrets. Twice changes nothing.

    Both lines write their config with this method.
    """
    to_dict = container_class.to_dict
    if hasattr(to_dict, "__wrapped__"):
        return

    @wraps(to_dict)
    def without_secrets(container: Any) -> dict[str, Any]:
        return mask_values(to_dict(container))

    container_class.to_dict = without_secrets
