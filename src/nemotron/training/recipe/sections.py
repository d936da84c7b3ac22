"""The sections of the YAML, put over Megatron-Bridge's own recipe as they stand.

So no default of the recipe wins over a documented value.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nemotron.errors import UserError
from nemotron.training import bridge
from nemotron.training.bridge.precision import train_in_float32
from nemotron.training.config import SftConfig
from nemotron.training.recipe.assign import assign, check_keys, field_types

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
    sections = [*_list_sections(container, config)]
    line = bridge.installed()
    for key in config.dataset.keys() & line.FROM_DATA:
        raise UserError(
            f"dataset.{key} cannot be set, because it follows from the data.", "Set run.data, and remove this key."
        )
    owner = line.dataset_config()
    known = (*field_types(owner), "seq_length", "pad_seq_to_mult")
    check_keys("dataset", config.dataset, known, owner.__name__, origins)
    for target, section, values in sections:
        assign(target, section, values, origins)
    if config.peft is not None:
        # The router's biases balance its experts, not by gradients but step by step. They are not saved with adapters,
        # so a resumed run and an export would have other biases than training.
        model: Any = container.model
        model.moe_router_bias_update_rate = 0.0
    if config.mixed_precision is None:
        train_in_float32(container)


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
