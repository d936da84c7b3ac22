"""Compare the config of a run with Megatron-Bridge's own recipe."""

import copy
import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nemotron.training.config import MEGATRON_SECTIONS

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

ABSENT = "absent"


@dataclass(frozen=True)
class Change:
    """A setting that differs."""

    key: str
    recipe: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.ours} (the recipe says {self.recipe})"


@dataclass(frozen=True)
class Recipe:
    """A config ready for `finetune()`, and the recipe that it was made from."""

    container: "ConfigContainer"
    original: dict[str, Any]
    """Megatron-Bridge's own recipe, key by key, as `what_runs` reads it."""

    def changes(self) -> list[Change]:
        """List how the final config differs from the recipe.

        Differences come from the YAML, the data and the backend.
        """
        return differences(self.original, what_runs(self.container))


def what_runs(container: Any) -> dict[str, Any]:
    """Map every setting of a ConfigContainer to its plain value in training.

    Mixed precision is applied first, as `runtime_config_update` (megatron/bridge/training/config.py) does when training
    starts, because it sets fields of the model, the optimizer and the gradients.
    """
    container = copy.copy(container)
    if isinstance(container.mixed_precision, str):  # the recipe of the 0.4 line uses its name
        from megatron.bridge.training.mixed_precision import get_mixed_precision_config

        container.mixed_precision = get_mixed_precision_config(container.mixed_precision)
    if container.mixed_precision is not None:
        for section in ("mixed_precision", "model", "optimizer", "ddp"):
            setattr(container, section, copy.copy(getattr(container, section)))
        container.mixed_precision.finalize()
        container.mixed_precision.setup(container.model, container.optimizer, container.ddp)
    settings: dict[str, Any] = {}
    for section in (*MEGATRON_SECTIONS, "peft", "env_vars"):
        _flatten(getattr(container, section, None), section, settings)
    return settings


def differences(recipe: Mapping[str, Any], ours: Mapping[str, Any]) -> list[Change]:
    """List the settings that differ, in our order, then what only the recipe has.

    A missing section counts as one difference.
    """
    keys = [*ours, *(key for key in recipe if key not in ours)]
    changes = [
        Change(key, recipe.get(key, _part(key, recipe)), ours.get(key, _part(key, ours)))
        for key in keys
        if not any(parent in ours or parent in recipe for parent in _parents(key))
    ]
    return [change for change in changes if change.recipe != change.ours]


def _parents(key: str) -> list[str]:
    """Return the sections around a key: `a.b` and `a` for `a.b.c`."""
    parts = key.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]


def _part(key: str, settings: Mapping[str, Any]) -> str:
    """Describe a missing key as a section if the settings have parts of it."""
    return "set" if any(name.startswith(f"{key}.") for name in settings) else ABSENT


def _flatten(value: Any, key: str, settings: dict[str, Any]) -> None:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if not field.name.startswith("_"):
                _flatten(getattr(value, field.name, None), f"{key}.{field.name}", settings)
    elif isinstance(value, Mapping) and value:
        for name, inner in value.items():
            _flatten(inner, f"{key}.{name}", settings)
    else:
        settings[key] = _plain(value)


def _plain(value: Any) -> Any:
    """Return a value in a comparable form, with functions and classes by name."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    text = str(value)
    return type(value).__name__ if " at 0x" in text else text
