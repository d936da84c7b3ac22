"""What a Megatron checkpoint says of itself, read without Megatron."""

from pathlib import Path
from typing import Any

import yaml

from nemotron.errors import UserError


def latest_iteration(checkpoint_dir: Path) -> Path:
    """The `iter_*` folder that Megatron would resume from; `checkpoint_dir` itself if it is one.

    Raises:
        UserError: there is none.
    """
    if (checkpoint_dir / "run_config.yaml").is_file():
        return checkpoint_dir
    tracker = checkpoint_dir / "latest_checkpointed_iteration.txt"
    if tracker.is_file():
        folder = checkpoint_dir / f"iter_{int(tracker.read_text()):07d}"
        if folder.is_dir():
            return folder
    raise UserError(
        f"{checkpoint_dir} holds no finished Megatron checkpoint.",
        "Name the folder that training saved to (checkpoint.save), or one of its iter_* folders.",
    )


def run_config(iteration_dir: Path) -> dict[str, Any]:
    """The config that the checkpoint was saved with: run_config.yaml, which Megatron-Bridge writes into it."""
    return yaml.safe_load((iteration_dir / "run_config.yaml").read_text(encoding="utf-8"))


def base_model_of(iteration_dir: Path) -> Path | None:
    """The `iter_*` folder of the model whose adapters this checkpoint holds; None when it holds a whole model.

    Raises:
        UserError: it holds adapters, and their model is not where it was.
    """
    config = run_config(iteration_dir)
    if config.get("peft") is None:
        return None
    base: str = config["checkpoint"]["pretrained_checkpoint"]
    try:
        return latest_iteration(Path(base))
    except UserError:
        raise UserError(
            f"{iteration_dir} holds adapters, and the model that they were trained on is not at {base}.",
            "Put that checkpoint back, or correct checkpoint.pretrained_checkpoint in run_config.yaml there.",
        ) from None
