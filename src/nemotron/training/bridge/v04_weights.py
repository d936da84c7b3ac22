"""Add to the 0.4 line what later lines do with weights.

This is loading only adapters, and exporting without a model to copy names and files from.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nemotron.errors import UserError


def fit_adapters(model: Any, routed_experts: bool) -> None:
    """Save adapters row by row; refuse some on routed experts.

    With expert parallelism, adapters on routed experts are refused.

    There, Transformer Engine's experts share one adapter on each rank. Nothing keeps these equal between ranks, and
    only one of them is saved; separate experts are not saved at all (`sharded_state_dict` of ParallelLinearAdapter in
    peft/utils.py, "in question and needs further verification").

    It also treats every `linear_fc1` as a gate and a projection when it orders the rows of tensor-parallel ranks, but
    Nemotron has no gates.
    """
    from megatron.bridge.peft import utils

    if model.expert_model_parallel_size > 1 and routed_experts:
        raise UserError(
            f"model.expert_model_parallel_size is {model.expert_model_parallel_size}, at which the 0.4 line of "
            "Megatron-Bridge neither keeps adapters on routed experts equal between ranks nor saves all of them.",
            "List '*.shared_experts.linear_fc*' in peft.target_modules instead of linear_fc1 and linear_fc2; or use "
            "model.expert_model_parallel_size=1 and pipelines; or train with Megatron-Bridge 0.6.",
        )
    utils.apply_swiglu_sharded_factory = lambda tensor, *_, **__: tensor


def load_adapters(model: list[Any], iteration_dir: Path, peft: Any) -> None:
    """Load adapters as `load_peft_adapter_checkpoint` of later lines, for one chunk."""
    from megatron.bridge.training.checkpointing import apply_peft_adapter_filter_to_state_dict
    from megatron.core import dist_checkpointing

    [chunk] = model
    wanted = apply_peft_adapter_filter_to_state_dict({"model": chunk.sharded_state_dict()}, peft)
    loaded: Any = dist_checkpointing.load(wanted, str(iteration_dir))
    chunk.load_state_dict(loaded["model"], strict=False)


def save_hf_weights(auto_bridge: Any, model: list[Any], folder: Path) -> None:
    """Save weights as `AutoBridge.save_hf_weights` of later lines, without a source.

    Names are those of the conversion table; files are divided as huggingface_hub does.
    """
    from huggingface_hub import save_torch_state_dict
    from megatron.bridge.models.conversion.model_bridge import stream_weights_megatron_to_hf

    source = SimpleNamespace(config=auto_bridge.hf_pretrained, state=_EveryName())
    kind = (auto_bridge._causal_lm_architecture, auto_bridge._get_model_instance(model))
    weights = stream_weights_megatron_to_hf(kind, model, source, cpu=True, show_progress=False)  # pyright: ignore
    save_torch_state_dict({name: weight.contiguous() for name, weight in weights}, folder)


class _EveryName(dict[str, Any]):
    """Stands for a model with every weight name, for code that checks names."""

    @property
    def source(self) -> "_EveryName":
        return self

    def get_all_keys(self) -> "_EveryName":
        return self

    def __contains__(self, name: object) -> bool:
        return True
