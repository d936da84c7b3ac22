"""Measure multi-token prediction in a forward pass: loss and acceptance per depth.

Megatron-Core keeps running sums for its log (`MTPLossLoggingHelper`, core/transformer/multi_token_prediction.py): each
micro-batch adds its mean loss over supervised targets, and, but for the 0.4 line, how many of them the depth's most
likely token got right and how many there were. The difference between before and after a forward pass is that
micro-batch's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from nemotron.training import bridge


@dataclass
class MtpMeasure:
    """Measures of MTP over one micro-batch on this rank, [depths] each.

    None without MTP, before the forward pass is over, and where Megatron-Core does not measure it.
    """

    losses: torch.Tensor | None = None
    """Mean over supervised targets."""
    correct: torch.Tensor | None = None
    """Supervised targets that the depth predicts; a draft of this token would be accepted."""
    targets: torch.Tensor | None = None
    """Supervised targets inside the conversation. Deeper depths have fewer: they look further ahead."""


@contextmanager
def measure_mtp(model: torch.nn.Module) -> Iterator[MtpMeasure]:
    """Measure the forward pass of `model` inside the `with` block.

    The measure is filled in at the end of the block. This also works in evaluation, where Megatron does not measure:
    only the outermost module's `training` flag decides whether it does (HybridModel.forward). What an evaluation adds
    to the running sums is removed again, because they belong to the training log.
    """
    from megatron.core.utils import unwrap_model

    [language_model] = unwrap_model([model])
    evaluating = not language_model.training
    before = _sums()
    measure = MtpMeasure()
    language_model.training = True
    try:
        yield measure
    finally:
        language_model.training = not evaluating
    after = _sums()
    if after is None:
        return
    if before is None:
        before = [torch.zeros_like(values) for values in after]
    fields = ("losses", "correct", "targets")
    for name, new, old in zip(fields, after, before, strict=False):
        setattr(measure, name, new - old)
    if evaluating:
        for name, values in zip(bridge.installed().MTP_SUMS, before, strict=True):
            _tracker()[name].copy_(values)


def _sums() -> list[torch.Tensor] | None:
    """Copy Megatron-Core's running sums, [depths] each; None if there are none yet."""
    names, tracker = bridge.installed().MTP_SUMS, _tracker()
    return None if names[0] not in tracker else [tracker[name].clone() for name in names]


def _tracker() -> dict[str, Any]:
    from megatron.core.transformer.multi_token_prediction import MTPLossLoggingHelper

    return MTPLossLoggingHelper.tracker
