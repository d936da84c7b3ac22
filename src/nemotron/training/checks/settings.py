"""Settings of Megatron-Bridge that this training cannot honour: refused with the reason, rather than overridden."""

import math
from fnmatch import fnmatchcase
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.training.config import PeftConfig, SftConfig

_DIVIDED_ONCE = "both stages of the loss and MTP need gradients divided once, by the supervised tokens of a whole batch"
_REQUIRED: dict[str, tuple[Any, str]] = {
    "train.micro_batch_size": (1, "a micro-batch is one pack, which holds many conversations"),
    "model.calculate_per_token_loss": (True, _DIVIDED_ONCE),
    "ddp.average_in_collective": (False, _DIVIDED_ONCE),
    "dataset.dataloader_type": ("batch", "the step has to see the loss masks of its whole batch first"),
    # Megatron-Core 0.19 ignores it (core/num_microbatches_calculator.py); one that did not would cut the same batches
    # into fewer, larger micro-batches (megatron/bridge/data/batch_utils.py, prepare_finetuning_batch).
    "train.rampup_batch_size": (None, "every batch is loaded whole, train.global_batch_size packs from the first on"),
    "model.overlap_moe_expert_parallel_comm": (False, "it drops the boundaries between the conversations of a pack"),
}
"""Key -> the one value it may have, and why."""

PROJECTIONS = (
    *("linear_qkv", "linear_proj", "in_proj", "out_proj"),
    *("linear_fc1", "linear_fc2", "fc1_latent_proj", "fc2_latent_proj"),
    *("eh_proj", "output_layer"),
)
"""The linear layers of the model by Megatron's names: attention, Mamba, experts and their latent projections, MTP."""

_NOT_WITH_DORA = {
    **dict.fromkeys(("linear_fc1", "linear_fc2"), "does not work on routed experts"),
    "in_proj": "cannot save what it makes of Mamba layers",
}


def check_settings(config: SftConfig, pack_size: int) -> None:
    """Refuse what would have to be overridden, what cannot be trained with, and adapters that could not be made.

    Args:
        pack_size: of the data.

    Raises:
        UserError: naming the key and the reason.
    """
    required = {
        **_REQUIRED,
        "model.seq_length": (pack_size, "it is the pack size of the data"),
        "dataset.seq_length": (pack_size, "it is the pack size of the data"),
    }
    for key, (value, why) in required.items():
        section, name = key.split(".")
        given = getattr(config, section).get(name)
        if given is not None and given != value:
            wanted = "null" if value is None else repr(value)
            raise UserError(f"{key} is {given!r}, but it has to be {wanted} here: {why}.", f"Leave {key} out.")
    _check_mtp_weight(config.model.get("mtp_loss_scaling_factor"))
    if config.peft is not None:
        _check_adapters(config.peft)
        if config.model.get("moe_router_bias_update_rate"):
            raise UserError(
                f"model.moe_router_bias_update_rate is {config.model['moe_router_bias_update_rate']}, but adapters "
                "leave the router as it is: its biases are not saved with them.",
                "Leave it out.",
            )


def _check_mtp_weight(weight: object) -> None:
    if weight is None:
        return
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:  # nor nan
        raise UserError(
            f"model.mtp_loss_scaling_factor is {weight!r}, which cannot weigh the loss of multi-token prediction.",
            "Use a number of at least 0; without MTP altogether: model.mtp_num_layers=null.",
        )


def _check_adapters(peft: PeftConfig) -> None:
    for name, why in (("dim", "it is the rank of the update"), ("alpha", "the update is scaled by alpha / dim")):
        if getattr(peft, name) < 1:
            raise UserError(f"peft.{name} is {getattr(peft, name)}: {why}.", "Use a whole number of at least 1.")
    if not 0 <= peft.dropout < 1:  # nor nan
        raise UserError(
            f"peft.dropout is {peft.dropout}: it is the share of the adapters' inputs that is left out.",
            "Use a number of at least 0 and below 1.",
        )
    if not peft.target_modules:
        raise UserError("peft.target_modules is empty: nothing would be trained.", f"Name some of {_listed()}.")
    for target in peft.target_modules:
        # A pattern such as *.layers.0.*.linear_qkv names a layer by its last part.
        last = target.rsplit(".", 1)[-1]
        matched = [name for name in PROJECTIONS if fnmatchcase(name, last)]
        if not matched:
            raise UserError(
                f"peft.target_modules names {target!r}, which is no linear layer of this model.",
                did_you_mean(last, PROJECTIONS) or f"Name some of {_listed()}.",
            )
        reasons = [] if "shared_experts" in target else [_NOT_WITH_DORA[n] for n in matched if n in _NOT_WITH_DORA]
        if peft.scheme == "dora" and reasons:
            raise UserError(
                f"peft.scheme=dora cannot adapt {target!r}: Megatron-Bridge's DoRA {reasons[0]}.",
                "Leave it out: peft.target_modules=[linear_qkv,linear_proj,out_proj]; the shared experts' are "
                "'*.shared_experts.linear_fc1' and fc2. Or use peft.scheme=lora.",
            )


def _listed() -> str:
    return ", ".join(PROJECTIONS)


def _check_numbers(config: SftConfig) -> None:
    """The numbers that are calculated with before Megatron-Bridge's classes have checked them."""
    sizes = ("tensor_model", "pipeline_model", "context", "expert_model", "expert_tensor")
    least = {
        "scheduler": {"lr_warmup_samples": 0, "lr_warmup_iters": 0},
        "validation": {"eval_iters": 0, "eval_global_batch_size": 1, "eval_interval": 0},
        # 0 would save nothing at all, the end of the run included; null saves at the end.
        "checkpoint": {"save_interval": 1},
        "logger": {"log_interval": 1},
        "model": {**{f"{size}_parallel_size": 1 for size in sizes}, "mtp_num_layers": 0},
    }
    for section, keys in least.items():
        for key, smallest in keys.items():
            value = getattr(config, section).get(key)
            if value is not None:
                _whole(value, f"{section}.{key}", smallest)


def _positive_int(value: object, key: str) -> int:
    return _whole(value, key, 1)


def _whole(value: object, key: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{key} is {value!r}.", f"Use a whole number of at least {least}.")
    return value
