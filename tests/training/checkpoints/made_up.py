"""Checkpoints as Megatron-Bridge and transformers lay them out on disk, with hardly any content."""

import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

PARTS = 3

MAIN = ["backbone.layers.0.norm.weight", "backbone.layers.1.norm.weight", "lm_head.weight"]
MTP = ["mtp.layers.0.eh_proj.weight", "mtp.layers.1.norm.weight"]
"""The weights of a Hugging Face model of two layers and two depths of MTP."""
HF_CONFIG = {"hybrid_override_pattern": "ME", "num_nextn_predict_layers": 2, "mtp_hybrid_override_pattern": "*E"}


def write_checkpoint(
    checkpoints: Path, iteration: int, run_config: dict[str, Any] | None = None, *, tracked: bool = True
) -> Path:
    """Write a whole checkpoint, its files in the order in which Megatron-Bridge writes them.

    Args:
        checkpoints: The folder that a run saves to.
        iteration: Its number.
        run_config: Sections of its run_config.yaml.
        tracked: Whether the trackers name it.

    Returns:
        Its `iter_*` folder.
    """
    import torch

    folder = checkpoints / f"iter_{iteration:07d}"
    folder.mkdir(parents=True, exist_ok=True)
    part = io.BytesIO()
    torch.save(torch.zeros(8), part)
    length = len(part.getvalue())
    (folder / "__0_0.distcp").write_bytes(part.getvalue() * PARTS)
    stored = {n: SimpleNamespace(relative_path="__0_0.distcp", offset=n * length, length=length) for n in range(PARTS)}
    (folder / ".metadata").write_bytes(pickle.dumps(SimpleNamespace(storage_data=stored)))
    (folder / "metadata.json").write_text(json.dumps({"sharded_backend": "torch_dist"}))
    numbers = {"step": (iteration, torch.int32), "consumed_train_samples": (4 * iteration, torch.int32)}
    torch.save(
        {name: torch.tensor(value, dtype=kind) for name, (value, kind) in numbers.items()}, folder / "train_state.pt"
    )
    if tracked:
        (checkpoints / "latest_train_state.pt").write_bytes((folder / "train_state.pt").read_bytes())
        (checkpoints / "latest_checkpointed_iteration.txt").write_text(str(iteration))
    sections = {"checkpoint": {"ckpt_format": "torch_dist"}, "model": {}, "train": {"train_iters": 100}}
    (folder / "run_config.yaml").write_text(yaml.safe_dump({**sections, **(run_config or {})}))
    return folder


def write_hf_folder(folder: Path, weights: Sequence[str]) -> Path:
    """Write a Hugging Face model with a config.json and weights of these names."""
    import torch
    from safetensors.torch import save_file

    (folder / "config.json").write_text(json.dumps(HF_CONFIG))
    save_file({name: torch.zeros(2) for name in weights}, folder / "model.safetensors")
    return folder
