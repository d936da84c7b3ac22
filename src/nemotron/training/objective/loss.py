r"""Define the two-stage loss as token weights and a schedule, in plain torch.

Write m_t for the loss mask, l_t for the cross entropy of position t, c for a conversation of the global batch, O_c
for its supervised positions, B for the conversations that have any, and N for the number of supervised positions.
The two objectives are

    L_token  = 1/N * sum_t m_t l_t
    L_sample = 1/|B| * sum_{c in B} 1/|O_c| * sum_{t in O_c} l_t

(Here, "conversation" means a training sequence; see `loss.sample_unit`.)

Megatron divides every gradient of the step by N (`calculate_per_token_loss`, core/distributed/finalize_model_grads.py).
So both stages return `sum_t w_t l_t` with the same denominator N, and only the weights differ:

    stage "token":   w_t = m_t
    stage "sample":  w_t = m_t * N / (|B| * |O_c(t)|)

Everything else in the gradient buffer (multi-token prediction, the MoE auxiliary loss) then has the same scale in both
stages. Returning |B| as the denominator instead would multiply those gradients by N/|B|.

All that a position needs to know about its conversation is 1/|O_c|, its *sample weight*. Summed over a conversation it
is 1, so summed over a batch it is |B|: however the positions of a conversation are spread over context-parallel ranks,
no conversation is counted twice.

A conversation may be trained as several sequences s, which may lie in other packs and other batches. By
`loss.sample_unit=conversation` each counts by its share of the conversation's supervised tokens, T_c over all of them:

    L_sample = 1/W * sum_s |O_s|/T_c(s) * 1/|O_s| * sum_{t in O_s} l_t,    W = sum_s |O_s|/T_c(s)

so that over an epoch each conversation counts once. The sample weight of a position is then 1/T_c, its sum over a batch
is W, and all else is as above with W for |B|.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nemotron.training.config import StageConfig

if TYPE_CHECKING:
    import torch

Average = Literal["token", "sample"]


@dataclass(frozen=True)
class Stage:
    """One stage: its average, and the number of finished iterations at its start."""

    average: Average
    start: int


@dataclass(frozen=True)
class Schedule:
    """The stages in order, as a pure function of the number of finished iterations.

    A resumed run switches where an uninterrupted one does.
    """

    stages: tuple[Stage, ...]
    never: tuple[Average, ...] = ()
    """Stages whose start, a fraction of the run, is at or after its end: the run is too short for them."""

    def average_at(self, finished_iterations: int) -> Average:
        """Return the average that trains iteration `finished_iterations + 1`."""
        return next(s.average for s in reversed(self.stages) if finished_iterations >= s.start)

    def describe(self) -> str:
        """Describe the schedule: `token from iteration 1, sample from iteration 31`."""
        begin = [f"{stage.average} from iteration {stage.start + 1}" for stage in self.stages]
        return ", ".join([*begin, *(f"{average} never: the run is too short" for average in self.never)])


def resolve_schedule(stages: Sequence[StageConfig], train_iters: int) -> Schedule:
    """Turn `loss.stages` of the YAML into a Schedule for `train_iters` iterations.

    `start` as an int is a number of finished iterations; as a float, a fraction of `train_iters`, rounded to the
    nearest iteration, and at least one after the stage before. A stage for which that leaves no iteration is dropped.

    Stages outside the run or out of order have been refused already (checks/counts.py). Every start must be finite.
    """
    resolved: list[Stage] = []
    never: list[Average] = []
    for stage in stages:
        start = stage.start
        if isinstance(start, float):
            start = round(stage.start * train_iters)
            if resolved and stage.start * train_iters > resolved[-1].start:
                start = max(start, resolved[-1].start + 1)
            if start >= train_iters:
                never.append(stage.average)
                continue
        resolved.append(Stage(stage.average, start))
    return Schedule(tuple(resolved), tuple(never))


def conversation_index(boundaries: "torch.Tensor", length: int) -> "torch.Tensor":
    """Return the conversation of its pack that each position belongs to.

    Args:
        boundaries: Int [n + 1], the cumulative lengths that attention gets (`cu_seqlens`): conversation i holds
            positions boundaries[i] to boundaries[i+1] - 1. Repeated final values (filler) make empty conversations.
        length: Number of positions of the pack.

    Returns:
        int64 [length], from 0. Positions at or after the last boundary (padding) get an index of their own.
    """
    import torch

    positions = torch.arange(length, device=boundaries.device)
    return torch.searchsorted(boundaries[1:].long().contiguous(), positions, right=True)


def sample_weights(loss_mask: "torch.Tensor", boundaries: "torch.Tensor") -> "torch.Tensor":
    """Compute 1/|O_c| at each supervised position of conversation c, 0 elsewhere.

    Args:
        loss_mask: [length], 0 or 1, of any dtype.
        boundaries: Int [n + 1], see `conversation_index`.

    Returns:
        float32 [length]; positive exactly where `loss_mask` is. Sums to 1 over every conversation that has supervised
        positions.
    """
    import torch

    mask = loss_mask != 0
    index = conversation_index(boundaries, loss_mask.numel())
    supervised = torch.zeros(boundaries.numel() + 1, dtype=torch.int64, device=mask.device)
    supervised.index_add_(0, index, mask.long())
    return torch.where(mask, 1.0 / supervised[index].clamp(min=1), 0.0).float()


def conversation_weights(
    loss_mask: "torch.Tensor", boundaries: "torch.Tensor", targets: "torch.Tensor"
) -> "torch.Tensor":
    """Compute 1/T_c at each supervised position of conversation c, 0 elsewhere.

    Args:
        loss_mask: [length], 0 or 1, of any dtype.
        boundaries: Int [n + 1], see `conversation_index`.
        targets: Int, T_c of each sequence of the pack. Where there are fewer than boundaries, the rest is padding;
            where more, the rest fills the pack up to another of its batch.

    Returns:
        float32 [length]; positive exactly where `loss_mask` is. Sums to 1 over all sequences of a conversation,
        wherever they lie.
    """
    import torch

    mask = loss_mask != 0
    whole = torch.ones(boundaries.numel() + 1, dtype=torch.int64, device=mask.device)
    own = targets[: whole.numel()]
    whole[: own.numel()] = own.long().clamp(min=1)
    return torch.where(mask, 1.0 / whole[conversation_index(boundaries, loss_mask.numel())], 0.0).float()


@dataclass(frozen=True)
class BatchTotals:
    """Totals over the whole global batch, over all data-parallel ranks.

    They are numbers or 0-dimensional tensors, because reading a number from a GPU waits for all of its pending work.
    """

    supervised_tokens: "int | torch.Tensor"
    """N."""
    conversations: "float | torch.Tensor"
    """|B|: conversations with at least one supervised token; or W, their shares in this batch added up."""


def token_weights(sample_weight: "torch.Tensor", totals: BatchTotals, average: Average) -> "torch.Tensor":
    """Compute the weights w_t of a stage.

    The token losses are multiplied by them, summed and divided by N.

    Args:
        sample_weight: float32, from `sample_weights`, whole or any part of a batch.
        totals: Totals of the global batch that `sample_weight` belongs to.
        average: The stage.

    Returns:
        float32 of the same shape, 0 exactly where `sample_weight` is 0.
    """
    if average == "token":
        return (sample_weight > 0).float()
    none = totals.conversations == 0  # then there are no weights to scale
    return sample_weight * (totals.supervised_tokens / (totals.conversations + none))
