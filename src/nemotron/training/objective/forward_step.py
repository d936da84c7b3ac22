"""Define the forward step for `finetune()`: the two-stage loss and MTP.

Both use supervised tokens only.

It follows `megatron.bridge.training.gpt_step.forward_step` and differs in three places (`bridge/` has what depends on
the release):

- Before the first micro-batch of a step it reads all of the step's loss masks, adds up two numbers over the
  data-parallel group (N and |B| of `loss.py`), and weights each position by its conversation. Megatron-Bridge makes
  this possible: with the "batch" dataloader each rank receives its whole share of the global batch at once, as a fresh
  iterator over micro-batches (megatron/bridge/data/batch_utils.py, prepare_finetuning_batch).
- It passes the loss mask to the model. The stock step does not, and Megatron-Core's `process_mtp_loss`
  (core/transformer/multi_token_prediction.py) then trains on prompts and padding.
- It marks padding positions, so that they are excluded from the experts' routing (`padding.py`).
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from nemotron.training import bridge
from nemotron.training.config import SampleUnit
from nemotron.training.conversation_targets import CONVERSATION_TARGETS
from nemotron.training.objective.loss import (
    Average,
    BatchTotals,
    Schedule,
    conversation_weights,
    sample_weights,
    token_weights,
)
from nemotron.training.objective.mtp import MtpMeasure, measure_mtp
from nemotron.training.objective.padding import padding_positions

if TYPE_CHECKING:
    from megatron.bridge.training.state import GlobalState

Batch = dict[str, Any]


def name_mtp(depth: int, quantity: str) -> str:
    """Return the name of a depth's loss or acceptance in TensorBoard and W&B.

    `mtp_1 loss` is taken: Megatron-Core's MTPLossLoggingHelper adds its own sums under that name to the same dict.
    """
    return f"mtp depth {depth} {quantity}"


class TwoStageStep:
    """`forward_step_func` for `finetune()`.

    Called once per micro-batch and model chunk.

    Attributes:
        totals: Totals of the global batch whose micro-batches are being (or were last) handed out; float64 tensors.
        average: The stage that trains, or trained, it.
        own_tokens: Supervised tokens of this rank's share of it; 0 on pipeline stages without data.
        skipped: Global batches that trained nothing, since this process began (empty_batches.py).
    """

    def __init__(
        self, schedule: Schedule, *, pads_conversations: bool = False, sample_unit: SampleUnit = "sequence"
    ) -> None:
        """Make the step of a run.

        Args:
            schedule: Which average trains which iteration.
            pads_conversations: Whether the data has `pad_to_multiple` above 1: then conversations end in padding.
            sample_unit: What the sample average counts; "conversation" needs CONVERSATION_TARGETS in every batch.
        """
        self._schedule = schedule
        self._pads_conversations = pads_conversations
        self.sample_unit: SampleUnit = sample_unit
        # One entry per model chunk (virtual pipeline stage): the iterator last seen, and its weighted micro-batches.
        # Megatron creates new iterators for every step, in training and in evaluation; a new one means a new step.
        self._source: dict[int, Any] = {}
        self._weighted: dict[int, Iterator[Batch]] = {}
        self.totals = BatchTotals(0, 0)
        self.average: Average = "token"
        self.own_tokens = 0
        self.skipped = 0

    def __call__(self, state: "GlobalState", data_iterator: Any, model: Any, return_schedule_plan: bool = False):
        """Run one micro-batch forward.

        Megatron-Bridge passes its state because of the name of the first parameter (`needs_global_state_injection`,
        megatron/bridge/training/utils/train_utils.py).

        Args:
            state: Megatron-Bridge's global state; `train_state.step` is the number of finished iterations.
            data_iterator: micro-batches of this rank's share of the global batch, or None on pipeline stages without
                data.
            model: The model chunk.
            return_schedule_plan: Asked for by overlap_moe_expert_parallel_comm, which Megatron-Bridge does not combine
                with packed sequences.

        Returns:
            The model's output (token losses, float [1, tokens], on the last pipeline stage) and the function that turns
            it into (summed loss, number of supervised tokens, reported sums).
        """
        from megatron.bridge.training.utils.pg_utils import get_pg_collection

        if return_schedule_plan:
            raise NotImplementedError(
                "model.overlap_moe_expert_parallel_comm drops the pack boundaries, so conversations would attend to "
                "each other. Set it to false."
            )
        assert state.cfg is not None  # set before any step
        line, groups = bridge.installed(), get_pg_collection(model)
        state.timers("batch-generator", log_level=2).start()
        micro_batches = self._weighted_micro_batches(state, data_iterator, line.model_chunk(model), groups.dp)
        batch = line.read_micro_batch(state, micro_batches, model, groups)
        state.timers("batch-generator").stop()

        loss_mask = None if batch.weights is None else (batch.weights > 0).float()
        with measure_mtp(model) as mtp:
            output = model(**batch.inputs, loss_mask=loss_mask)
        weights: Any = batch.weights  # present on the last pipeline stage, the only one that calls the loss function
        return output, partial(self._loss, state, weights, mtp)

    def _weighted_micro_batches(
        self, state: "GlobalState", data_iterator: Any, chunk: int, data_parallel: torch.distributed.ProcessGroup
    ) -> Iterator[Batch] | None:
        """Replace the loss mask of the step's micro-batches by sample weights (`loss.py`).

        On the first call of a step this reads every micro-batch of the step and adds up N and |B| over
        `data_parallel`. Context-parallel ranks hold the same rows until `get_batch` divides them, so they are not part
        of that group.
        """
        if data_iterator is None:
            return None
        if self._source.get(chunk) is data_iterator:
            return self._weighted[chunk]
        pad_ids = _pad_ids(state)
        micro_batches = [self._with_sample_weights(batch, pad_ids) for batch in data_iterator]
        counts = torch.zeros(2, dtype=torch.float64)
        for batch in micro_batches:
            counts[0] += (batch["loss_mask"] > 0).sum()
            # Sample weights sum to 1 over each sample.
            counts[1] += batch["loss_mask"].double().sum()
        self.own_tokens = int(counts[0])
        counts = counts.cuda(non_blocking=True)  # otherwise this waits for all pending work on the GPU
        torch.distributed.all_reduce(counts, group=data_parallel)
        # Sequences are whole numbers, but a batch may have parts of conversations.
        samples = counts[1].round() if self.sample_unit == "sequence" else counts[1]
        self.totals = BatchTotals(counts[0], samples)
        self.average = self._schedule.average_at(state.train_state.step)
        self._source[chunk] = data_iterator
        self._weighted[chunk] = iter(micro_batches)
        return self._weighted[chunk]

    def _loss(
        self, state: "GlobalState", weights: torch.Tensor, mtp: MtpMeasure, output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the loss of one micro-batch; called on the last pipeline stage.

        Args:
            state: For the NaN and spike checks it configures.
            weights: float32 sample weights [1, tokens].
            mtp: This micro-batch's MTP losses and acceptance.
            output: Float [1, tokens], the cross entropy of each position.

        Returns:
            The weighted sum of token losses; N of this micro-batch; and pairs (sum, count) that Megatron adds up over
            micro-batches and data- and context-parallel ranks before it divides.
        """
        from megatron.bridge.training.losses import masked_next_token_loss

        assert state.cfg is not None
        checks = state.cfg.rerun_state_machine
        trained, _, _ = masked_next_token_loss(
            token_weights(weights, self.totals, self.average),
            output,
            check_for_nan_in_loss=checks.check_for_nan_in_loss,
            check_for_spiky_loss=checks.check_for_spiky_loss,
        )
        with torch.no_grad():
            losses, flat = output.view(-1).float(), weights.view(-1)
            mask = (flat > 0).float()
            tokens = mask.sum()
            report = {
                "lm loss": torch.stack([trained.detach(), tokens]),
                "token loss": torch.stack([(losses * mask).sum(), tokens]),
                # Sample weights sum to 1 over each sample, so this is (sum of averages, samples).
                "sample loss": torch.stack([(losses * flat).sum(), flat.sum()]),
            }
            counted = [counts for counts in (mtp.correct, mtp.targets) if counts is not None]
            for depth, loss in enumerate(() if mtp.losses is None else mtp.losses, 1):
                report[name_mtp(depth, "loss")] = torch.stack([loss * tokens, tokens])
                if counted:
                    report[name_mtp(depth, "acceptance")] = torch.stack([counts[depth - 1] for counts in counted])
        return trained, tokens.to(torch.int), report

    def _with_sample_weights(self, batch: Batch, pad_ids: set[int]) -> Batch:
        """Copy a micro-batch with sample weights in place of its loss mask.

        A micro-batch is one pack; its loss mask is int64 [1, tokens].

        Under `padding`, bool [1, tokens], the copy says which positions are padding.
        """
        if batch["loss_mask"].size(0) != 1:
            raise ValueError(
                f"A micro-batch holds {batch['loss_mask'].size(0)} packs; train.micro_batch_size must be 1."
            )
        boundaries = bridge.installed().pack_boundaries(batch)
        padding = padding_positions(
            batch["tokens"][0],
            batch["loss_mask"][0],
            boundaries,
            int(batch["token_count"][0]),
            pad_ids,
            pads_conversations=self._pads_conversations,
        )
        mask = batch["loss_mask"][0]
        if self.sample_unit == "sequence":
            weights = sample_weights(mask, boundaries)
        else:
            weights = conversation_weights(mask, boundaries, batch[CONVERSATION_TARGETS][0])
        copied = {name: value for name, value in batch.items() if name != CONVERSATION_TARGETS}
        return {**copied, "loss_mask": weights[None], "padding": padding[None]}


def _pad_ids(state: "GlobalState") -> set[int]:
    """Return the padding tokens: eos in packs of Megatron-Bridge, pad in sequences."""
    tokenizer = state.tokenizer
    ids = (getattr(tokenizer, name, None) for name in ("eos_id", "pad_id"))
    return {token for token in ids if isinstance(token, int)}
