"""The parallel layouts that are compared."""

from dataclasses import dataclass

from nemotron.training import bridge

# Pipeline stages of the bundled model's layers; the MTP layer is always on the last.
TWO_STAGES = "model.hybrid_layer_pattern=MEM*|EME/*E/*E"
THREE_STAGES = "model.hybrid_layer_pattern=ME|M*E|ME/*E/*E"


BY_CONVERSATION = "loss.sample_unit=conversation"


@dataclass(frozen=True)
class Layout:
    """One way to divide one global batch and one model among processes."""

    name: str
    ranks: int
    batch: str
    """Which of `make_batches`; its packs are shared out among the data-parallel ranks, one per micro-batch."""
    overrides: tuple[str, ...] = ()
    """Settings as a user would type them."""
    lines: tuple[str, ...] = ("0.4", "0.6")
    """Release lines of Megatron-Bridge that train it right; our recipe refuses it in the others."""
    stock_step: bool = False
    """Train with Megatron-Bridge's own step instead of ours: what the comparison finds when something is wrong."""
    adapters: bool = False
    """Train LoRA adapters on every projection, `config/tiny_lora.yaml`; everything else is frozen."""

    @property
    def sample(self) -> str:
        """The average of the second stage, as objective.py calls it."""
        return "conversation" if BY_CONVERSATION in self.overrides else "sample"


def _parallel(**sizes: int) -> tuple[str, ...]:
    return tuple(f"model.{name}_model_parallel_size={size}" for name, size in sizes.items())


TENSOR = (*_parallel(tensor=2), "model.sequence_parallel=true")
PIPELINE = (*_parallel(pipeline=2), TWO_STAGES)
EXPERT = _parallel(expert=2)
ONLY_0_6 = ("0.6",)  # megatron-core 0.17 does not sum the gradients of experts over tensor-parallel ranks

NOT_ROUTED = "peft.target_modules=[linear_qkv, linear_proj, in_proj, out_proj, '*.shared_experts.linear_fc*']"
"""Adapters on all but the routed experts."""

_LAYOUTS = [
    Layout("1 rank, 1 micro-batch", 1, "1"),
    Layout("1 rank, 2 micro-batches", 1, "2"),
    Layout("1 rank, 4 micro-batches", 1, "4"),
    Layout("1 rank, 8 micro-batches", 1, "8"),
    Layout("DP 2, 4 micro-batches each", 2, "8"),
    Layout("DP 4, 2 micro-batches each", 4, "8"),
    Layout("DP 4, 1 micro-batch each", 4, "4"),
    Layout("DP 2, one rank without targets", 2, "half"),
    Layout("1 rank, padded conversations", 1, "padded"),
    Layout("TP 2 + sequence parallel", 2, "8", TENSOR, ONLY_0_6),
    Layout("TP 2 + sequence parallel, EP 2", 2, "8", (*TENSOR, *EXPERT)),
    Layout("PP 2", 2, "8", PIPELINE),
    Layout("PP 3", 3, "8", (*_parallel(pipeline=3), THREE_STAGES)),
    Layout("EP 2", 2, "8", EXPERT),
    Layout("by conversation: 1 rank, 4 micro-batches", 1, "4", (BY_CONVERSATION,)),
    Layout("by conversation: DP 4, 2 micro-batches each", 4, "8", (BY_CONVERSATION,)),
    Layout("by conversation: DP 2, one rank without targets", 2, "half", (BY_CONVERSATION,)),
    Layout("by conversation: 1 rank, padded", 1, "padded", (BY_CONVERSATION,)),
]

_MORE_LAYOUTS = [
    Layout("DP 2 x TP 2 + sequence parallel", 4, "8", TENSOR, ONLY_0_6),
    Layout("DP 2 x PP 2", 4, "8", PIPELINE),
    Layout("TP 2 + sequence parallel x PP 2", 4, "8", (*TENSOR, *PIPELINE), ONLY_0_6),
    Layout("EP 2 x PP 2", 4, "8", (*EXPERT, *PIPELINE)),
    Layout("EP 2 x TP 2 + sequence parallel", 4, "8", (*EXPERT, *TENSOR)),
    Layout("EP 4", 4, "8", _parallel(expert=4)),
    Layout("by conversation: EP 2 x PP 2", 4, "8", (BY_CONVERSATION, *EXPERT, *PIPELINE)),
]

_ADAPTER_LAYOUTS = [
    Layout("LoRA, 1 rank", 1, "8", adapters=True),
    Layout("LoRA, DP 2", 2, "8", adapters=True),
    Layout("LoRA, TP 2 + sequence parallel", 2, "8", TENSOR, ONLY_0_6, adapters=True),
    Layout("LoRA, TP 2 + sequence parallel, EP 2", 2, "8", (*TENSOR, *EXPERT), ONLY_0_6, adapters=True),
    Layout("LoRA without routed experts, TP 2, EP 2", 2, "8", (*TENSOR, *EXPERT, NOT_ROUTED), adapters=True),
    Layout("LoRA, PP 2", 2, "8", PIPELINE, adapters=True),
    Layout("LoRA, EP 2", 2, "8", EXPERT, ONLY_0_6, adapters=True),
]

_MORE_ADAPTER_LAYOUTS = [
    Layout("LoRA, EP 2 x DP 2", 4, "8", EXPERT, ONLY_0_6, adapters=True),
    Layout("LoRA, EP 2 x TP 2 + sequence parallel", 4, "8", (*EXPERT, *TENSOR), ONLY_0_6, adapters=True),
]

LAYOUTS, MORE_LAYOUTS, ADAPTER_LAYOUTS, MORE_ADAPTER_LAYOUTS = (
    [layout for layout in layouts if bridge.installed().NAME in layout.lines]
    for layouts in (_LAYOUTS, _MORE_LAYOUTS, _ADAPTER_LAYOUTS, _MORE_ADAPTER_LAYOUTS)
)

CONTROL = Layout("Megatron-Bridge's own step", 1, "8", stock_step=True)

ALL_LAYOUTS = [*LAYOUTS, *MORE_LAYOUTS, *ADAPTER_LAYOUTS, *MORE_ADAPTER_LAYOUTS, CONTROL]
