"""The one place that knows which Megatron-Bridge release is installed."""

import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.errors import UserError

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

TESTED_RELEASES = ("0.6.2",)

logger = logging.getLogger(__name__)


def check_release() -> str:
    """The installed Megatron-Bridge release; a warning when it is not one that this package is tested with.

    Raises:
        UserError: it is not installed.
    """
    try:
        release = version("megatron-bridge")
    except PackageNotFoundError:
        raise UserError(
            "Megatron-Bridge is not installed.",
            "Install this project with `uv sync`, or run in the NeMo container named in config/default.yaml.",
        ) from None
    if release not in TESTED_RELEASES:
        logger.warning(
            "megatron-bridge %s is installed; this package is tested with %s.", release, ", ".join(TESTED_RELEASES)
        )
    return release


def super_recipe(hf_model: str, peft_scheme: str | None) -> "ConfigContainer":
    """Megatron-Bridge's Nemotron 3 Super recipe, for the architecture that `hf_model` describes.

    Args:
        hf_model: Hugging Face id, or a folder with a config.json of architecture NemotronHForCausalLM.
        peft_scheme: "lora" or "dora"; None for full fine-tuning.

    Source: megatron/bridge/recipes/nemotronh/h100/nemotron_3_super.py. Its functions take no model argument but read
    the hub id from a module constant when called, so the constant is set for the call.

    Raises:
        UserError: no config can be read for `hf_model`.
    """
    from megatron.bridge.recipes.nemotronh.h100 import nemotron_3_super as recipes

    original = recipes.NEMOTRON_3_SUPER_HF_MODEL_ID
    recipes.NEMOTRON_3_SUPER_HF_MODEL_ID = hf_model
    try:
        if peft_scheme is None:
            return recipes.nemotron_3_super_sft_16gpu_h100_bf16_config()
        return recipes.nemotron_3_super_peft_1gpu_h100_bf16_config(peft_scheme=peft_scheme)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No model config could be read for recipe.hf_model={hf_model!r}: {_first_line(error)}",
            "Name a folder with a config.json, or a Hugging Face id that this machine can reach (HF_TOKEN, if gated).",
        ) from error
    finally:
        recipes.NEMOTRON_3_SUPER_HF_MODEL_ID = original


def packed_dataset(train: Path, valid: Path | None, pack_size: int, options: dict[str, Any]) -> Any:
    """The dataset config that reads packed Parquet folders.

    Args:
        train, valid: folders of Parquet shards, one pack per row.
        pack_size: tokens of a padded pack; also the model's sequence length.
        options: further fields of GPTSFTDatasetConfig, and `pad_seq_to_mult` of PackedSequenceSpecs.
    """
    from megatron.bridge.data.builders.gpt_sft import GPTSFTDatasetConfig
    from megatron.bridge.data.packing.config import PackedSequenceSpecs

    fields = dict(options)
    specs = PackedSequenceSpecs(
        packed_sequence_size=pack_size,
        packed_train_data_path=str(train),
        packed_val_data_path=None if valid is None else str(valid),
        # Read only for padded cu_seqlens; without a value Megatron-Bridge creates a folder below dataset_root.
        packed_metadata_path=str(train.parent / "metadata.json"),
        pad_seq_to_mult=fields.pop("pad_seq_to_mult", 1),
    )
    fields["do_validation"] = valid is not None and fields.get("do_validation", True)
    fields["dataset_kwargs"] = {"pad_to_max_length": True, **(fields.get("dataset_kwargs") or {})}
    return GPTSFTDatasetConfig(
        seq_length=pack_size,
        dataset_root=str(train.parent),
        enable_offline_packing=True,
        offline_packing_specs=specs,
        do_test=False,
        **fields,
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
