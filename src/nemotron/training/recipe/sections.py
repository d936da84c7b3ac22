"""Apply the sections of the YAML to Megatron-Bridge's own recipe, unchanged.

So no default of the recipe wins over a documented value. Megatron-Bridge's dataclasses accept any attribute silently,
so a misspelt key would do nothing. Here a key must be a field of the object, and a value must fit the field's
annotation.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nemotron.errors import UserError, did_you_mean
from nemotron.training import bridge
from nemotron.training.bridge.provider import leave_out_mtp, train_in_float32
from nemotron.training.config import SftConfig

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

# Filled in rather than copied (fill_in.py): they depend on the data, on the number of ranks or on each other.
_OWN_KEYS = {
    "train": {"train_iters", "train_samples", "num_epochs"},
    "scheduler": {
        *("lr_warmup_iters", "lr_warmup_samples", "lr_warmup_fraction", "lr_decay_iters", "lr_decay_samples"),
        *("lr_wsd_decay_iters", "lr_wsd_decay_samples"),
    },
    "validation": {"eval_iters", "eval_global_batch_size"},
    "checkpoint": {"pretrained_checkpoint", "save", "load"},
    "logger": {"tensorboard_dir", "wandb_project", "wandb_entity", "wandb_exp_name", "wandb_save_dir"},
    "tokenizer": {"tokenizer_model"},
}


def apply_sections(container: "ConfigContainer", config: SftConfig, origins: Mapping[str, str]) -> None:
    """Set every section that is copied unchanged.

    `mixed_precision` may be a name; `dataset` is only checked.

    Args:
        container: Megatron-Bridge's recipe, changed in place.
        config: The YAML, typed.
        origins: Dotted key -> where it was written, for messages.

    Raises:
        UserError: A key that Megatron-Bridge does not have, or a value that does not fit.
    """
    model: Any = container.model
    sections = [*_list_sections(container, config)]
    line = bridge.installed()
    for key in config.dataset.keys() & line.FROM_DATA:
        raise UserError(
            f"dataset.{key} cannot be set, because it follows from the data.", "Set run.data, and remove this key."
        )
    for target, section, values in sections:
        assign(target, section, values, origins)
    owner = line.dataset_config()
    known = (*field_types(owner), "seq_length", "pad_seq_to_mult")
    for misfit in (_find_unknown("dataset", key, known, owner.__name__) for key in config.dataset):
        if misfit is not None:
            raise misfit.refusal(origins)
    if config.peft is not None:
        # The router's biases balance its experts, not by gradients but step by step. They are not saved with adapters,
        # so a resumed run and an export would have other biases than training.
        model.moe_router_bias_update_rate = 0.0
    if config.mixed_precision is None:
        train_in_float32(container)
    if not model.mtp_num_layers:
        leave_out_mtp(model)


def _list_sections(container: "ConfigContainer", config: SftConfig) -> Iterator[tuple[Any, str, Mapping[str, Any]]]:
    """Yield each object to set, its section of the YAML, and the values there."""
    from megatron.bridge.training.comm_overlap import CommOverlapConfig
    from megatron.bridge.training.config import ProfilingConfig
    from megatron.bridge.training.mixed_precision import get_mixed_precision_config

    if isinstance(config.mixed_precision, str):
        try:
            container.mixed_precision = get_mixed_precision_config(config.mixed_precision)
        except ValueError as error:
            raise UserError(
                f"mixed_precision is {config.mixed_precision!r}: {error}", "Use bf16_mixed, or null for float32."
            ) from None
    elif config.mixed_precision is not None:
        if isinstance(container.mixed_precision, str):  # the recipe of the 0.4 line uses its name
            container.mixed_precision = get_mixed_precision_config(container.mixed_precision)
        yield container.mixed_precision, "mixed_precision", config.mixed_precision
    optional = {"comm_overlap": lambda: CommOverlapConfig(tp_comm_overlap=False), "profiling": ProfilingConfig}
    for section, make in optional.items():
        values = getattr(config, section)
        if values is not None:
            if getattr(container, section) is None:
                setattr(container, section, make())
            yield getattr(container, section), section, values
    if config.peft is not None:
        settings = {name: getattr(config.peft, name) for name in ("target_modules", "dim", "alpha", "dropout")}
        yield container.peft, "peft", settings
    for section in (
        *("model", "train", "validation", "optimizer", "scheduler", "ddp", "dist"),
        *("checkpoint", "logger", "tokenizer", "rng", "rerun_state_machine"),
    ):
        own = _OWN_KEYS.get(section, set())
        values = getattr(config, section)
        yield getattr(container, section), section, {key: values[key] for key in values if key not in own}


@dataclass(frozen=True)
class _Misfit:
    """A key that Megatron-Bridge does not have, or a value that does not fit it."""

    key: str
    """The dotted key."""
    what: str
    word: str
    """What may be misspelt."""
    known: list[str]
    """What it may be meant for."""
    otherwise: str
    """What to do, if nothing is close to the word."""

    def refusal(self, origins: Mapping[str, str]) -> UserError:
        """Make the error: where the key was written, what is wrong, and a hint."""
        where = origins.get(self.key, "config")
        return UserError(f"{where}: {self.what}", did_you_mean(self.word, self.known) or self.otherwise)


def assign(target: Any, section: str, values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Set `values` on the dataclass instance `target`.

    Args:
        target: A Megatron-Bridge config object, changed in place.
        section: Its name in the YAML, for messages.
        values: Field name -> value as YAML gives it. Names of torch dtypes and of enum members are converted.
        origins: Dotted key -> where the value was written ("config/default.yaml:12", "command line").

    Raises:
        UserError: A key is not a field, or a value does not fit.
    """
    hints = field_types(type(target))
    for key, raw in values.items():
        value, misfit = None, _find_unknown(section, key, hints, type(target).__name__)
        if misfit is None:
            value, misfit = _convert(raw, hints[key], f"{section}.{key}")
        if misfit is not None:
            raise misfit.refusal(origins)
        setattr(target, key, value)


def _find_unknown(section: str, key: str, known: Iterable[str], owner: str) -> _Misfit | None:
    """Return what is wrong with a key that a class of Megatron-Bridge does not have."""
    if key in known:
        return None
    dotted = f"{section}.{key}"
    return _Misfit(
        key=dotted,
        what=f"{dotted} is not a setting of Megatron-Bridge's {owner}.",
        word=dotted,
        known=[f"{section}.{name}" for name in known],
        otherwise=f"Its settings are listed by: help(megatron.bridge) -> {owner}.",
    )


def field_types(owner: type) -> dict[str, Any]:
    """Map each field to its annotation, or to Any if that cannot be resolved."""
    try:
        hints = typing.get_type_hints(owner)
    except (NameError, TypeError):
        hints = {}
    return {field.name: hints.get(field.name, Any) for field in dataclasses.fields(owner)}


def _convert(value: Any, hint: Any, dotted: str) -> tuple[Any, _Misfit | None]:
    """Convert a value to the type of an annotation, or return what is wrong with it."""
    options = alternatives(hint)
    for option in options:
        fits, converted = _fit(value, option)
        if fits:
            return converted, None
    wanted = " or ".join(dict.fromkeys(_name(option) for option in options))
    choices = [str(choice) for option in options for choice in _choices(option)]
    return None, _Misfit(
        key=dotted,
        what=f"{dotted} is {value!r}, which is not {wanted}.",
        word=str(value),
        known=choices if isinstance(value, str) else [],
        otherwise=f"Use {wanted}.",
    )


def _fit(value: Any, option: Any) -> tuple[bool, Any]:
    """Tell whether `value` fits one alternative of an annotation.

    Returns:
        Whether it fits, and which value to set.
    """
    origin = typing.get_origin(option)
    if origin is typing.Literal:
        return value in typing.get_args(option), value
    plain = origin or option
    if plain is torch.dtype:
        dtype = getattr(torch, value, None) if isinstance(value, str) else value
        return isinstance(dtype, torch.dtype), dtype
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        known = plain.__members__
        return (value in known, known.get(value)) if isinstance(value, str) else (isinstance(value, plain), value)
    if plain is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number, float(value) if number else value
    if plain is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    if plain is tuple and isinstance(value, list):
        return True, tuple(value)
    if plain in (bool, str, list, dict, type(None)):
        return isinstance(value, plain), value
    # YAML cannot express paths, callables and config objects; strings are accepted, and Megatron checks them.
    return True, value


def alternatives(hint: Any) -> list[Any]:
    """List the members of a union, also of nested unions; else the annotation itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [inner for option in typing.get_args(hint) for inner in alternatives(option)]
    return [hint]


def _choices(option: Any) -> list[Any]:
    if typing.get_origin(option) is typing.Literal:
        return list(typing.get_args(option))
    if isinstance(option, type) and issubclass(option, enum.Enum):
        return list(option.__members__)
    return []


def _name(option: Any) -> str:
    if choices := _choices(option):
        return " or ".join(repr(choice) for choice in choices)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list"}
    words |= {dict: "a mapping", type(None): "null", torch.dtype: "a torch dtype such as bfloat16"}
    plain = typing.get_origin(option) or option
    return words.get(plain, getattr(plain, "__name__", str(plain)))
