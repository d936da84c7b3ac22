"""Implement the 0.4 line of Megatron-Bridge, with megatron-core 0.17.

`interface.Line` describes the functions.

The NeMo container of config/default.yaml has this line. Its differences are compensated here: its sampler does not
shuffle, evaluates only whole training batches, and repeats the end of an epoch after resuming (v04_datasets.py); its
step drops the boundaries of a pack on middle pipeline stages, and never sets the sequence index that separates the
states of Mamba layers.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.errors import UserError
from nemotron.training.bridge.interface import HybridStack, MicroBatch, Packs
from nemotron.training.bridge.packed_data import describe_packs, repeat_batches
from nemotron.training.bridge.versions import build, missing_api

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer
    from torch import Tensor

NAME = "0.4"
IMPORTS_CUDA_PACKAGES = ("megatron.bridge", "megatron.bridge.training.pretrain", "megatron.bridge.recipes")
FROM_DATA = frozenset({"dataset_root", "packed_sequence_specs", "max_train_samples", "do_test"})
MASKS_PADDING = False
MTP_SUMS = ("values",)

_BOUNDARIES = ("cu_seqlens", "cu_seqlens_argmin", "max_seqlen")
"""The collator's keys for a pack. `cu_seqlens` includes the padding of sequences and, as a sequence of its own, that of
the pack; after `cu_seqlens_argmin` entries it is filled with -1."""


def super_recipe(hf_model: str, peft_scheme: str | None) -> "ConfigContainer":
    """Call the installed release's recipe, with `hf_model` instead of its constant.

    Source: megatron/bridge/recipes/nemotronh/nemotron_3_super.py.

    0.4.2 has one function each for full and for adapter fine-tuning; they read the hub id from a module constant when
    called. Branch super-v3 (0.4.0rc0) has one for both, for the released model only.
    """
    from megatron.bridge.recipes.nemotronh import nemotron_3_super

    recipes: Any = nemotron_3_super
    name = f"nemotron_3_super_{'sft' if peft_scheme is None else 'peft'}_config"
    if hasattr(recipes, name):
        original = recipes.NEMOTRON_3_SUPER_HF_MODEL_ID
        recipes.NEMOTRON_3_SUPER_HF_MODEL_ID = hf_model
        try:
            return getattr(recipes, name)(**({} if peft_scheme is None else {"peft_scheme": peft_scheme}))
        finally:
            recipes.NEMOTRON_3_SUPER_HF_MODEL_ID = original
    if hasattr(recipes, "nemotron_3_super_finetune_config"):
        return recipes.nemotron_3_super_finetune_config(packed_sequence=True, peft=peft_scheme)
    raise missing_api(f"{recipes.__name__}.{name}")


def dataset_config() -> type:
    from megatron.bridge.training.config import FinetuningDatasetConfig

    return FinetuningDatasetConfig


def make_packed_dataset(packs: Packs, global_batch_size: int) -> Any:
    import megatron.bridge.data.datasets.packed_parquet as packed_parquet
    from megatron.bridge.data.datasets.packed_sequence import PackedSequenceSpecs

    from nemotron.training.bridge.v04_datasets import ShuffledPacks

    specs, fields = describe_packs(packs, PackedSequenceSpecs, packed_parquet)
    return build(ShuffledPacks, packed_sequence_specs=specs, global_batch_size=global_batch_size, **fields)


def set_environment(container: "ConfigContainer", variables: Mapping[str, Any]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, str(value))  # variables that are already set take precedence, as in the 0.6 line


def callbacks() -> list[Any]:
    from megatron.bridge.training.callbacks import Callback, CallbackContext

    class HeedSignal(Callback):
        """Installs the handler of `train.exit_signal`, which the line only creates."""

        def on_train_start(self, context: CallbackContext) -> None:
            state: Any = context.state
            if state.cfg.train.exit_signal_handler:
                state.signal_handler.__enter__()

        def on_train_end(self, context: CallbackContext) -> None:
            state: Any = context.state
            if state.cfg.train.exit_signal_handler:
                state.signal_handler.release()

    return [HeedSignal()]


def fit_layout(model: Any) -> None:
    """Refuse layouts that train experts on partial tokens; scale the auxiliary loss.

    megatron-core 0.17 sums the gradients of experts over the ranks that hold the same ones only where experts are
    divided among ranks (`allreduce` of a weight, in tensor_parallel/layers.py and extensions/transformer_engine.py).
    With sequence parallelism, tensor-parallel ranks that have all experts each see only a part of the tokens.

    With per-token loss, it weights the auxiliary loss by the tokens of a rank instead of those of all ranks that share
    a sequence (attach_and_log_load_balancing_loss in transformer/moe/router.py).
    """
    tensor, expert = model.tensor_model_parallel_size, model.expert_model_parallel_size
    expert_tensor = model.expert_tensor_parallel_size or tensor
    if model.num_moe_experts and expert == 1 and expert_tensor != tensor:
        raise UserError(
            f"model.tensor_model_parallel_size={tensor} with expert_model_parallel_size=1 and "
            f"expert_tensor_parallel_size={expert_tensor}: in the 0.4 line of Megatron-Bridge every rank would train "
            "its experts on its own part of the tokens.",
            f"Set model.expert_model_parallel_size={tensor} (or a multiple), or "
            f"model.expert_tensor_parallel_size={tensor}.",
        )
    sharing = tensor * model.context_parallel_size
    coefficients = model.moe_aux_loss_coeff
    if isinstance(coefficients, list):
        model.moe_aux_loss_coeff = [sharing * coefficient for coefficient in coefficients]
    else:
        model.moe_aux_loss_coeff = sharing * coefficients


def fit_adapters(model: Any, routed_experts: bool) -> None:
    from nemotron.training.bridge.v04_weights import fit_adapters

    fit_adapters(model, routed_experts)


def evaluation(
    packs: int, ranks: int, global_batch_size: int, largest: int | None, asked: int | None
) -> tuple[int, int]:
    """Make batches as large as in training; the last is filled up (v04_datasets.py)."""
    if largest is not None:
        raise UserError(
            "validation.eval_global_batch_size is not a setting of Megatron-Bridge 0.4, which evaluates in batches of "
            "train.global_batch_size.",
            "Remove it.",
        )
    if packs == 0:
        return 0, 0
    all_of_it = -(-packs // global_batch_size)
    return global_batch_size, all_of_it if asked is None else min(asked, all_of_it)


def set_evaluation(container: "ConfigContainer", batch: int, iterations: int) -> None:
    container.validation.eval_iters = iterations
    dataset: Any = container.dataset
    dataset.valid_rows = batch * iterations


def count_evaluated_packs(container: "ConfigContainer", packs: int) -> int:
    dataset: Any = container.dataset
    return min(packs, dataset.valid_rows)


def split_iterator(container: "ConfigContainer", tokenizer: Any, folder: Path, ranks: Any) -> Any:
    config: Any = container.dataset
    specs = dataclasses.replace(config.packed_sequence_specs, packed_val_data_path=str(folder))
    dataset: Any = dataclasses.replace(config, packed_sequence_specs=specs, do_validation=True).build_evaluation(
        tokenizer
    )
    batch: Any = container.train.global_batch_size
    return repeat_batches(dataset, config, ranks, batch)


def pack_boundaries(batch: Mapping[str, Any]) -> "Tensor":
    return batch["cu_seqlens"][0, : int(batch["cu_seqlens_argmin"][0])]


def model_chunk(model: Any) -> int:
    """Return 0: this line has no virtual stages of hybrid models."""
    return 0


def read_micro_batch(state: Any, micro_batches: Iterator[Any] | None, model: Any, groups: Any) -> MicroBatch:
    """Read a micro-batch as `_forward_step_common` of Megatron-Bridge's gpt_step does.

    Its `get_batch` gives middle pipeline stages nothing, not even the boundaries.
    """
    from megatron.bridge.training.gpt_step import get_batch
    from megatron.bridge.training.utils.packed_seq_utils import get_packed_seq_params
    from megatron.core.pipeline_parallel.utils import is_pp_first_stage, is_pp_last_stage
    from megatron.core.utils import get_model_config

    config: Any = get_model_config(model)
    iterator: Any = micro_batches
    packing: dict[str, Any]
    if is_pp_first_stage(groups.pp) or is_pp_last_stage(groups.pp):
        batch: Any = get_batch(iterator, state.cfg, bool(getattr(config, "mtp_num_layers", None)), pg_collection=groups)
        tokens, labels, weights, attention_mask, position_ids = batch[:5]
        packing = dict(zip(_BOUNDARIES, batch[5:8], strict=True))
        length = (tokens if tokens is not None else labels).size(1)
    else:
        tokens = labels = weights = attention_mask = position_ids = None
        whole = next(iterator)
        packing = {name: whole[name] for name in _BOUNDARIES}
        packing["cu_seqlens"] = packing["cu_seqlens"].cuda(non_blocking=True)
        length = whole["tokens"].size(1) // groups.cp.size()
    inputs = {
        "input_ids": tokens,
        "position_ids": position_ids,
        "attention_mask": attention_mask,
        "labels": labels,
        "packed_seq_params": _with_sequence_index(get_packed_seq_params(packing), length),
    }
    return MicroBatch(inputs, weights)


def _with_sequence_index(packed: Any, tokens: int) -> Any:
    """Make PackedSeqParams with `total_tokens`, which gives Mamba its `seq_idx`.

    Raises:
        UserError: megatron-core has no such field: states would leak from one conversation into the next.
    """
    if "total_tokens" not in {field.name for field in dataclasses.fields(packed)}:
        raise missing_api("megatron.core.packed_seq_params.PackedSeqParams.total_tokens")
    return dataclasses.replace(packed, total_tokens=tokens)


def hybrid_stack() -> HybridStack:
    from megatron.core.ssm import mamba_block

    block: Any = mamba_block
    return HybridStack(
        block=mamba_block,
        stack=block.MambaStack,
        submodules=block.MambaStackSubmodules,
        spec_field="mamba_stack_spec",
        modules=("megatron.core.models.mamba.mamba_layer_specs", "megatron.core.models.mamba.mamba_model"),
    )


def mlp_submodule(submodules: Any) -> Any:
    from megatron.core.transformer.mlp import MLP
    from megatron.core.transformer.spec_utils import ModuleSpec

    return ModuleSpec(module=MLP, submodules=submodules)


def conversion_mappings(converter: Any) -> list[Any]:
    """Add the experts of MTP layers one by one, which this line lists as one layer."""
    from megatron.bridge.models.nemotronh.nemotron_h_bridge import _MTPFlatteningMapping

    depth = converter._mtp_layers_per_block
    if not depth:
        return []
    layer, experts = "mtp.layers.*.mtp_model_layer.layers.*", "mlp.experts.local_experts.*"
    names = {
        f"{layer}.input_layernorm.weight": "mtp.layers.*.norm.weight",
        f"{layer}.{experts}.linear_fc1.weight": "mtp.layers.*.mixer.experts.*.up_proj.weight",
        f"{layer}.{experts}.linear_fc2.weight": "mtp.layers.*.mixer.experts.*.down_proj.weight",
    }
    return [
        _MTPFlatteningMapping(megatron_param=ours, hf_param=theirs, mtp_layers_per_block=depth)
        for ours, theirs in names.items()
    ]


def check_loadable(checkpoint: Path) -> None:
    if (checkpoint / "config.json").is_file():
        raise UserError(
            f"{checkpoint} is a Hugging Face folder, which the 0.4 line of Megatron-Bridge does not start from.",
            f"Import it first: nemotron super3 model import {checkpoint} -o CHECKPOINT",
        )
    if (checkpoint / "metadata.json").exists() and not (checkpoint / "common.pt").exists():
        raise UserError(
            f"{checkpoint} was saved by a later Megatron-Bridge than the installed one, which cannot read it.",
            "Where it was saved, export it (nemotron super3 model export); here, import that folder (model import).",
        )


def complete_provider(provider: Any, hf_config: Any) -> None:
    """Complete a provider as NemotronHBridge.provider_bridge of the 0.6 line does."""
    if provider.mtp_num_layers:
        provider.mtp_use_repeated_layer = getattr(hf_config, "mtp_use_repeated_layer", True)


def load_adapters(model: list[Any], iteration_dir: Path, peft: Any) -> None:
    from nemotron.training.bridge.v04_weights import load_adapters

    load_adapters(model, iteration_dir, peft)


def save_hf_weights(auto_bridge: Any, model: list[Any], folder: Path) -> None:
    from nemotron.training.bridge.v04_weights import save_hf_weights

    save_hf_weights(auto_bridge, model, folder)
