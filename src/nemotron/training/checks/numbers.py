"""Refuse numbers that everything else calculates with: of the wrong type, or outside their range.

Read before Megatron-Bridge's own classes have seen them. The other checks run only when none of these fails.
"""

import math
from collections.abc import Iterator

from nemotron.errors import Problem
from nemotron.training.config import SftConfig

_SIZES = ("tensor_model", "pipeline_model", "context", "expert_model", "expert_tensor")
_LEAST = {
    "train.train_iters": 1,
    "train.train_samples": 1,
    "scheduler.lr_warmup_samples": 0,
    "scheduler.lr_warmup_iters": 0,
    "validation.eval_iters": 0,
    "validation.eval_global_batch_size": 1,
    "validation.eval_interval": 0,
    # 0 would save nothing at all, the end of the run included; null saves at the end.
    "checkpoint.save_interval": 1,
    "logger.log_interval": 1,
    "dataset.seq_length": 1,
    "dataset.pad_seq_to_mult": 1,
    **{f"model.{size}_parallel_size": 1 for size in _SIZES},
    "model.mtp_num_layers": 0,
}
"""Key -> the least whole number it may be; null leaves it to the default."""


def check_numbers(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem for each number that is none, or is too small."""
    batch = config.train.get("global_batch_size")
    if not _is_whole(batch, 1):  # the one that has no default
        yield _not_whole("train.global_batch_size", batch, 1)
    for key, least in _LEAST.items():
        section, name = key.split(".")
        value = getattr(config, section).get(name)
        if value is not None and not _is_whole(value, least):
            yield _not_whole(key, value, least)
    epochs = config.train.get("num_epochs")
    if epochs is not None and not (_is_number(epochs) and 0 < epochs < math.inf):  # nor nan
        yield Problem(f"train.num_epochs is {epochs!r}.", "Use a positive number; 0.5 is half an epoch.")
    weight = config.model.get("mtp_loss_scaling_factor")
    if weight is not None and not (_is_number(weight) and 0 <= weight < math.inf):  # nor nan
        yield Problem(
            f"model.mtp_loss_scaling_factor is {weight!r}, which cannot weigh the loss of multi-token prediction.",
            "Use a number of at least 0; without MTP altogether: model.mtp_num_layers=null.",
        )


def _not_whole(key: str, value: object, least: int) -> Problem:
    return Problem(f"{key} is {value!r}.", f"Use a whole number of at least {least}.")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
