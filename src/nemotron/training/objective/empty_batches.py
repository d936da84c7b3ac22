"""Skip global batches without supervised tokens, so that no weight changes.

The main loss and MTP of such a batch have no gradient, but the experts' auxiliary loss has one, which is not divided by
anything, and the routers' biases count its text. Megatron-Bridge would train only on that. Here the optimizer reports a
step that was not taken, as after an overflow, and the biases are restored. The learning rate schedule and Adam do not
see the batch, but it counts as an iteration.

Every rank makes the same decision, by the number of supervised tokens of the whole batch (`TwoStageStep.totals`), which
is sent to pipeline stages that read no data.
"""

from typing import TYPE_CHECKING, Any

import torch

from nemotron.training.ranks import is_first

if TYPE_CHECKING:
    from nemotron.training.objective.forward_step import TwoStageStep


class EmptyBatches:
    """Skips the empty batches of a run, and counts them in `TwoStageStep.skipped`."""

    def __init__(self, step: "TwoStageStep") -> None:
        self._step = step
        self._pipeline: Any = None
        self._iteration = 0
        self._biases: list[torch.Tensor] = []
        self._kept: list[torch.Tensor] = []

    def begin(self, optimizer: Any, model: list[Any], pipeline: Any) -> None:
        """Wrap the step of an optimizer.

        Args:
            optimizer: Megatron's; its `step` returns (was taken, gradient norm, zeros in the gradient).
            model: The rank's chunks.
            pipeline: The process group of the pipeline's stages.
        """
        self._pipeline = pipeline
        routers = [module for chunk in model for module in chunk.modules() if hasattr(module, "expert_bias")]
        self._biases = [router.expert_bias for router in routers if router.expert_bias is not None]
        self._kept = [torch.empty_like(bias) for bias in self._biases]
        take_step = optimizer.step

        def step() -> tuple[bool, Any, Any]:
            return self._skip() if self.is_empty() else take_step()

        optimizer.step = step

    @torch.no_grad()
    def begin_iteration(self, iteration: int) -> None:
        """Copy the routers' biases, which are updated before the optimizer's step.

        Iterations count from 1.
        """
        self._iteration = iteration
        for kept, bias in zip(self._kept, self._biases, strict=True):
            kept.copy_(bias)

    def is_empty(self) -> bool:
        """Tell whether the current global batch has no supervised token.

        Every rank calls it, and gets the same answer.
        """
        stages = 1 if self._pipeline is None else self._pipeline.size()
        if stages == 1 and self._step.own_tokens:
            return False  # without waiting for a sum on the GPU
        tokens = torch.as_tensor(self._step.totals.supervised_tokens, dtype=torch.float64).cuda()
        if stages > 1:
            tokens = tokens.clone()
            torch.distributed.all_reduce(tokens, op=torch.distributed.ReduceOp.MAX, group=self._pipeline)
        return not bool(tokens)

    @torch.no_grad()
    def _skip(self) -> tuple[bool, None, None]:
        for kept, bias in zip(self._kept, self._biases, strict=True):
            bias.copy_(kept)
        self._step.skipped += 1
        if is_first():
            # Not through logging, because Megatron-Bridge filters warnings out.
            print(f"Iteration {self._iteration}: no token of the global batch is supervised, so it is skipped.")
        return False, None, None


def skip_empty_batches(step: "TwoStageStep") -> Any:
    """Make the Megatron-Bridge callback that skips the empty batches of `step`."""
    from megatron.bridge.training.callbacks import Callback, CallbackContext
    from megatron.bridge.training.utils.pg_utils import get_pg_collection

    empty = EmptyBatches(step)

    class SkipEmptyBatches(Callback):
        def on_train_start(self, context: CallbackContext) -> None:
            empty.begin(context.optimizer, context.model, get_pg_collection(context.model).pp)

        def on_train_step_start(self, context: CallbackContext) -> None:
            empty.begin_iteration(context.state.train_state.step + 1)

    return SkipEmptyBatches()
