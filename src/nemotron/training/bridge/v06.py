"""Implement the 0.6 line of Megatron-Bridge, with megatron-core 0.19.

`interface.Line` describes the functions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.training.bridge.evaluation_batches import evaluation_batches
from nemotron.training.bridge.interface import HybridStack, MicroBatch, Packs
from nemotron.training.bridge.packed_data import describe_packs, repeat_batches
from nemotron.training.bridge.v06_evaluation import evaluate_whole, fill_up, rows_of_an_evaluation
from nemotron.training.bridge.v06_padding import Remembering, padding_mask
from nemotron.training.bridge.versions import build

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer
    from torch import Tensor

NAME = "0.6"
IMPORTS_CUDA_PACKAGES = ("megatron.bridge", "megatron.bridge.training.pretrain")
FROM_DATA = frozenset({"dataset_root", "hf_dataset", "enable_offline_packing", "offline_packing_specs", "do_test"})
MASKS_PADDING = True
MTP_SUMS = ("loss_values", "correct_values", "total_values")


def super_recipe(hf_model: str, peft_scheme: str | None) -> "ConfigContainer":
    """Call the recipe with `hf_model` instead of its constant.

    Source: megatron/bridge/recipes/nemotronh/h100/nemotron_3_super.py. Its functions take no model argument but read
    the hub id from a module constant when called.
    """
    from megatron.bridge.recipes.nemotronh.h100 import nemotron_3_super as recipes
    from megatron.bridge.recipes.nemotronh.h100.nemotron_3_super import (
        NEMOTRON_3_SUPER_HF_MODEL_ID,
        nemotron_3_super_peft_1gpu_h100_bf16_config,
        nemotron_3_super_sft_16gpu_h100_bf16_config,
    )

    recipes.NEMOTRON_3_SUPER_HF_MODEL_ID = hf_model
    try:
        if peft_scheme is None:
            return nemotron_3_super_sft_16gpu_h100_bf16_config()
        return nemotron_3_super_peft_1gpu_h100_bf16_config(peft_scheme=peft_scheme)
    finally:
        recipes.NEMOTRON_3_SUPER_HF_MODEL_ID = NEMOTRON_3_SUPER_HF_MODEL_ID


def dataset_config() -> type:
    from megatron.bridge.data.builders.gpt_sft import GPTSFTDatasetConfig

    return GPTSFTDatasetConfig


def make_packed_dataset(packs: Packs, global_batch_size: int) -> Any:
    from megatron.bridge.data.packing import parquet
    from megatron.bridge.data.packing.config import PackedSequenceSpecs

    specs, fields = describe_packs(packs, PackedSequenceSpecs, parquet)
    return build(dataset_config(), enable_offline_packing=True, offline_packing_specs=specs, **fields)


def set_environment(container: "ConfigContainer", variables: Mapping[str, Any]) -> None:
    container.env_vars = {**(container.env_vars or {}), **variables}


def callbacks() -> list[Any]:
    return []


def fit_layout(model: Any) -> None:
    """Nothing is known to do."""


def fit_adapters(model: Any, routed_experts: bool) -> None:
    """Nothing is known to do."""


def evaluation(
    packs: int, ranks: int, global_batch_size: int, largest: int | None, asked: int | None
) -> tuple[int, int]:
    return evaluation_batches(packs, ranks, largest or global_batch_size, asked)


def set_evaluation(container: "ConfigContainer", batch: int, iterations: int) -> None:
    evaluate_whole()
    validation = container.validation
    validation.eval_iters, validation.eval_global_batch_size, validation.eval_micro_batch_size = iterations, batch, 1


def count_evaluated_packs(container: "ConfigContainer", packs: int) -> int:
    return min(packs, rows_of_an_evaluation(container))


def split_iterator(container: "ConfigContainer", tokenizer: Any, folder: Path, ranks: Any) -> Any:
    from megatron.bridge.data.builders.gpt_sft import GPTSFTDatasetBuilder

    config: Any = container.dataset
    specs = replace(config.offline_packing_specs, packed_val_data_path=str(folder))
    builder = GPTSFTDatasetBuilder(
        config=replace(config, offline_packing_specs=specs, do_validation=True), tokenizer=tokenizer
    )
    dataset: Any = fill_up(builder.build()[1], rows_of_an_evaluation(container))
    batch: Any = container.validation.eval_global_batch_size
    return repeat_batches(dataset, config, ranks, batch, seed=config.seed)


def pack_boundaries(batch: Mapping[str, Any]) -> "Tensor":
    boundaries = batch.get("cu_seqlens_q_padded")
    return (batch["cu_seqlens_q"] if boundaries is None else boundaries)[0]


def model_chunk(model: Any) -> int:
    from megatron.bridge.training.utils.flop_utils import get_model_chunk_vp_stage

    return get_model_chunk_vp_stage(model) or 0


def read_micro_batch(state: Any, micro_batches: Iterator[Any] | None, model: Any, groups: Any) -> MicroBatch:
    """Read a micro-batch as `_forward_step_common` of Megatron-Bridge's gpt_step does."""
    from megatron.bridge.training.gpt_step import get_batch
    from megatron.bridge.training.utils.flop_utils import accumulate_flops_metadata, get_model_chunk_vp_stage
    from megatron.bridge.training.utils.packed_seq_utils import get_packed_seq_params
    from megatron.core.utils import get_model_config

    config: Any = get_model_config(model)
    chunk = get_model_chunk_vp_stage(model)
    # None on pipeline stages without data, which Megatron's annotation leaves out.
    iterator: Any = None if micro_batches is None else Remembering(micro_batches)
    tokens, labels, weights, attention_mask, position_ids, packing = get_batch(
        iterator, state.cfg, bool(getattr(config, "mtp_num_layers", None)), pg_collection=groups, vp_stage=chunk
    )
    boundaries: Any = None if packing is None or groups.cp.size() > 1 else packing.get("cu_seqlens_q")
    accumulate_flops_metadata(state, tokens, vp_stage=chunk, config_seq_len=config.seq_length, cu_seqlens=boundaries)
    inputs: dict[str, Any] = {
        "input_ids": tokens,
        "position_ids": position_ids,
        "attention_mask": attention_mask,
        "labels": labels,
    }
    if packing is not None:
        _use_physical_boundaries(packing)
        # Mamba layers build their sequence index from total_tokens; without it, state leaks across sequences.
        visible = tokens if tokens is not None else labels
        packing["total_tokens"] = config.seq_length if visible is None else visible.size(1)
        inputs["packed_seq_params"] = get_packed_seq_params(packing)
        if iterator is not None and config.num_moe_experts:
            inputs["padding_mask"] = padding_mask(iterator.last["padding"], packing, model, config, groups)
    return MicroBatch(inputs, weights)


def _use_physical_boundaries(packing: dict[str, Any]) -> None:
    """Make padded sequences end where their padding ends.

    For padded sequences, Megatron-Bridge's collator gives two sets of boundaries, and Megatron-Core's MTP rolls by the
    wrong one: `cu_seqlens_q`, which excludes the padding (and a last `<|im_end|>`, mistaken for padding), so that it
    cuts every later sequence in the wrong place (_roll_tensor_packed_seq in
    core/transformer/multi_token_prediction.py). Padding at the end of a sequence does not change anything before it:
    all layers are causal, and its loss mask is 0.
    """
    for name in ("cu_seqlens_q", "cu_seqlens_kv"):
        if packing.get(f"{name}_padded") is not None:
            packing[name] = packing[f"{name}_padded"]


def hybrid_stack() -> HybridStack:
    from megatron.core.models.hybrid import hybrid_block

    return HybridStack(
        block=hybrid_block,
        stack=hybrid_block.HybridStack,
        submodules=hybrid_block.HybridStackSubmodules,
        spec_field="hybrid_stack_spec",
        modules=("megatron.core.models.hybrid.hybrid_layer_specs", "megatron.core.models.hybrid.hybrid_model"),
    )


def mlp_submodule(submodules: Any) -> Any:
    from megatron.core.transformer.mlp import MLP

    return partial(MLP.as_mlp_submodule, submodules=submodules)


def conversion_mappings(converter: Any) -> list[Any]:
    from megatron.bridge.models.nemotronh.nemotron_h_bridge import _MTPFlatteningMapping

    _, pattern = converter._hf_mtp_config(converter.hf_config)
    if not pattern:
        return []
    norm = _MTPFlatteningMapping(
        megatron_param="mtp.layers.*.mtp_model_layer.layers.*.input_layernorm.weight",
        hf_param="mtp.layers.*.norm.weight",
        mtp_layers_per_block=len(pattern),
    )
    return [norm]


def check_loadable(checkpoint: Path) -> None:
    """Do nothing: this line also loads checkpoints of the 0.4 line."""


def complete_provider(provider: Any, hf_config: Any) -> None:
    """Do nothing: the provider is already complete."""


def load_adapters(model: list[Any], iteration_dir: Path, peft: Any) -> None:
    from megatron.bridge.peft.utils import load_peft_adapter_checkpoint

    load_peft_adapter_checkpoint(model, iteration_dir, peft, fully_parallel_load=False)


def save_hf_weights(auto_bridge: Any, model: list[Any], folder: Path) -> None:
    auto_bridge.save_hf_weights(model, folder, show_progress=False)
