"""Load a command's configs, with the shared settings of env.toml."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.rollouts.config import RolloutsConfig
    from nemotron.training.config import SftConfig

PREP_GROUP = "data_prep"
ROLLOUTS_GROUP = "rollouts"


def load_sft(name: str, overrides: Sequence[str], *, leave_artifacts: bool = False) -> "Loaded[SftConfig]":
    """Load `config/<name>.yaml` or a path, and check Megatron-Bridge's settings.

    Args:
        name, overrides: As the command line has them.
        leave_artifacts: Leave `${art:...}` to the job, or until the data is made.
    """
    from nemotron.config import load_config
    from nemotron.training.config import SftConfig
    from nemotron.training.recipe.known_settings import check_known_settings

    use_env_file()
    with _explain_other_stage(overrides, SftConfig):
        loaded = load_config(name, overrides, schema=SftConfig, leave_artifacts=leave_artifacts)
    check_known_settings(loaded.config, loaded.origins)
    return loaded


def load_prep(name: str, overrides: Sequence[str]) -> "Loaded[DataPrepConfig]":
    """Load the data-prep config `config/data_prep/<name>.yaml`, or a path."""
    from nemotron.config import load_config
    from nemotron.data_prep.config import DataPrepConfig

    use_env_file()
    with _explain_other_stage(overrides, DataPrepConfig):
        return load_config(name, overrides, group=PREP_GROUP, schema=DataPrepConfig)


def load_rollouts(name: str, overrides: Sequence[str]) -> "Loaded[RolloutsConfig]":
    """Load the rollouts config `config/rollouts/<name>.yaml`, or a path."""
    from nemotron.config import load_config
    from nemotron.rollouts.config import RolloutsConfig

    use_env_file()
    return load_config(name, overrides, group=ROLLOUTS_GROUP, schema=RolloutsConfig)


@contextmanager
def _explain_other_stage(overrides: Sequence[str], schema: type) -> Iterator[None]:
    """Name an override that the other stage has, where a config is refused.

    Raises:
        ConfigError: It has one.
    """
    from nemotron.config import ConfigError, may_have
    from nemotron.config.located import COMMAND_LINE

    try:
        yield
    except ConfigError:
        from nemotron.data_prep.config import DataPrepConfig
        from nemotron.training.config import SftConfig

        other, stage, command = (
            (SftConfig, "training", "sft")
            if schema is DataPrepConfig
            else (DataPrepConfig, "data prep", "data prep sft")
        )
        for override in overrides:
            if may_have(other, override) and not may_have(schema, override):
                key = override.partition("=")[0]
                raise ConfigError(
                    f"{COMMAND_LINE}: {key} is a setting of {stage}.",
                    f"Set it there: nemotron super3 {command} {key}=..., or run both with nemotron super3 pipe.",
                ) from None
        raise


def use_env_file() -> None:
    """Apply `[wandb]` and `[artifacts]` of env.toml, below the environment."""
    from nemotron.launch import read_shared_environment

    for name, value in read_shared_environment().items():
        os.environ.setdefault(name, value)
