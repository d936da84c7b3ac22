"""The run in Weights & Biases of a training run.

Opened by the last rank, which has the losses.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron import lineage
from nemotron.config import Loaded
from nemotron.lineage import access, tracking
from nemotron.secrets import mask_text
from nemotron.training.checkpoints.reader import read_records
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run


def find_wandb(config: SftConfig) -> access.Target | None:
    """Find where a run is recorded in W&B; None: nowhere."""
    return access.find_target(config.logger.get("wandb_project"), config.logger.get("wandb_entity"))


def describe_wandb(config: SftConfig, run: RunFolder) -> list[str]:
    """Say that W&B cannot be reached, if that is so: on the first rank, for all."""
    if os.environ.get("RANK", "0") != "0":
        return []
    return access.describe_access(find_wandb(config), folder=_wandb_folder(config, run))


def wandb_run(loaded: Loaded[SftConfig], run: RunFolder, *, has_work: bool) -> AbstractContextManager["Run | None"]:
    """Keep the run's W&B run open on the rank that has the losses, the last one.

    It gives None on others.

    Args:
        loaded: the config.
        run: its folders; `wandb.json` there has the id that a resumed job continues.
        has_work: whether anything is left to train or to evaluate. A finished run is opened again only if W&B does not
            have its model.
    """
    target = find_wandb(loaded.config)
    if target is None or not _is_last_rank() or not (has_work or not _has_model(loaded.config, run, target)):
        return contextlib.nullcontext()
    name = loaded.config.logger.get("wandb_exp_name") or run.output.name
    return tracking.wandb_run(
        target,
        state=run.output / tracking.RUN_FILE,
        folder=_wandb_folder(loaded.config, run),
        name=mask_text(name),
        job_type="sft",
        config=loaded.tree,
    )


def finish_wandb(opened: "Run | None", run: RunFolder, *, stopped: bool) -> None:
    """Record in the open W&B run what was made, how it ended and the last losses."""
    if opened is None:
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        tracking.take_over(run.output)
    last = {name: (read_records(run.output / f"{name}.jsonl") or [{}])[-1] for name in ("validation", "test")}
    losses = {f"{split}_{key}": value for split, record in last.items() for key, value in _known_losses(record)}
    tracking.summarize(losses, stopped=stopped)


def _known_losses(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for key in ("token_loss", "sample_loss"):
        if record.get(key) is not None:
            yield key, record[key]


def _has_model(config: SftConfig, run: RunFolder, target: access.Target) -> bool:
    """Tell whether the finished run's model is in W&B."""
    with contextlib.suppress(lineage.ArtifactError):
        known = lineage.resolve(str(run.checkpoints), config.run.artifacts)
        return tracking.is_recorded(known, Path(config.run.artifacts), target)
    return False


def _wandb_folder(config: SftConfig, run: RunFolder) -> Path:
    return Path(config.logger.get("wandb_save_dir") or run.output)


def _is_last_rank() -> bool:
    return int(os.environ.get("RANK", "0")) == int(os.environ.get("WORLD_SIZE", "1")) - 1
