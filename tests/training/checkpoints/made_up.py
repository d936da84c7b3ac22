"""Checkpoints as Megatron-Bridge lays them out on disk, with hardly any content."""

import io
import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

PARTS = 3


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
