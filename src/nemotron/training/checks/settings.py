"""Refuse settings of Megatron-Bridge that this training cannot honour, with the reason, rather than override them."""

from collections.abc import Iterator
from typing import Any

from nemotron.errors import Problem
from nemotron.training.config import SftConfig

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


def check_settings(config: SftConfig, pack_size: int | None) -> Iterator[Problem]:
    """Yield a problem for each setting that would have to be overridden.

    Args:
        pack_size: of the data, in tokens; None where it is not known.
    """
    required = dict(_REQUIRED)
    if pack_size is not None:
        required["model.seq_length"] = (pack_size, "it is the pack size of the data")
    for key, (value, why) in required.items():
        section, name = key.split(".")
        given = getattr(config, section).get(name)
        if given is not None and given != value:
            wanted = "null" if value is None else repr(value)
            yield Problem(f"{key} is {given!r}, but it has to be {wanted} here: {why}.", f"Leave {key} out.")
