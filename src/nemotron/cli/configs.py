"""Load a command's configs, with the shared settings of env.toml."""

import os
from collections.abc import Sequence
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
    loaded = load_config(name, overrides, schema=SftConfig, leave_artifacts=leave_artifacts)
    check_known_settings(loaded.config, loaded.origins)
    return loaded


def load_prep(name: str, overrides: Sequence[str]) -> "Loaded[DataPrepConfig]":
    """Load the data-prep config `config/data_prep/<name>.yaml`, or a path."""
    from nemotron.config import load_config
    from nemotron.data_prep.config import DataPrepConfig

    use_env_file()
    return load_config(name, overrides, group=PREP_GROUP, schema=DataPrepConfig)


def load_rollouts(name: str, overrides: Sequence[str]) -> "Loaded[RolloutsConfig]":
    """Load the rollouts config `config/rollouts/<name>.yaml`, or a path."""
    from nemotron.config import load_config
    from nemotron.rollouts.config import RolloutsConfig

    use_env_file()
    return load_config(name, overrides, group=ROLLOUTS_GROUP, schema=RolloutsConfig)


def use_env_file() -> None:
    """Apply `[wandb]` and `[artifacts]` of env.toml, below the environment."""
    from nemotron.launch import read_shared_environment

    for name, value in read_shared_environment().items():
        os.environ.setdefault(name, value)
