"""The run in Weights & Biases of a training run.

Opened by the last rank, which has the losses.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron import lineage
from nemotron.config import Loaded
from nemotron.lineage import tracking
from nemotron.lineage.access import Target
from nemotron.secrets import mask_text
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.ranks import count_ranks, is_first, is_last

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run


@dataclass(frozen=True)
class WandbRecord:
    """Where a training run is recorded in W&B, found out once."""

    target: Target
    """The project, and whether it can be reached from here."""
    state: Path
    """JSON file with the id that a resumed job continues."""
    folder: Path
    """Holds `wandb/`, with the client's own files."""
    name: str
    """Of the run, for people."""

    def describe(self) -> list[str]:
        """Say in a line what happens when the server cannot be reached."""
        if self.target.unreachable is None:
            return []
        kept = f"recorded in {self.folder}/wandb; `wandb sync` uploads it later"
        return [f"W&B: {self.target.unreachable}. The run continues and is {kept}."]


def find_wandb(config: SftConfig, run: RunFolder, *, has_work: bool) -> WandbRecord | None:
    """Find where a run is recorded in W&B; None: nowhere.

    Only the first rank, which reports it, and the last one, which opens it, ask the server.

    Args:
        config: The training config.
        run: Its folders.
        has_work: Whether anything is left to train or to evaluate. A finished run is opened again only if W&B does not
            have its model.
    """
    if not (is_first() or is_last()):
        return None
    logger, artifacts = config.logger, Path(config.run.artifacts)
    made = None if has_work else _find_model(run, artifacts)
    target = tracking.find_open_target(logger.get("wandb_project"), logger.get("wandb_entity"), artifacts, made)
    if target is None:
        return None
    return WandbRecord(
        target,
        state=run.output / tracking.RUN_FILE,
        folder=Path(logger.get("wandb_save_dir") or run.output),
        name=mask_text(logger.get("wandb_exp_name") or run.output.name),
    )


def _find_model(run: RunFolder, artifacts: Path) -> lineage.Artifact | None:
    """Find what a finished run has recorded its model as."""
    with contextlib.suppress(lineage.ArtifactError):
        return lineage.resolve(str(run.checkpoints), artifacts)
    return None


def wandb_run(record: WandbRecord | None, loaded: Loaded[SftConfig]) -> AbstractContextManager["Run | None"]:
    """Keep the run's W&B run open on the rank that has the losses, the last one.

    It gives None on others.
    """
    if record is None or not is_last():
        return contextlib.nullcontext()
    return tracking.wandb_run(
        record.target,
        state=record.state,
        folder=record.folder,
        name=record.name,
        job_type="sft",
        config=loaded.tree,
    )


def finish_wandb(
    opened: "Run | None", output: Path, evaluated: Mapping[str, Sequence[Mapping[str, Any]]], *, stopped: bool
) -> None:
    """Record in the open W&B run what was made, how it ended and the last losses.

    Args:
        opened: The run.
        output: Folder of the training run, in which the first rank of several has left what it made.
        evaluated: Name of an evaluation -> its records.
        stopped: Whether a signal or a time limit ended the run.
    """
    if opened is None:
        return
    losses = {f"{split}_{key}": value for split, records in evaluated.items() for key, value in _last_losses(records)}
    if count_ranks() > 1:
        tracking.take_over(output)
    tracking.summarize(losses, stopped=stopped)


def _last_losses(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    for key in ("token_loss", "sample_loss"):
        if records and records[-1].get(key) is not None:
            yield key, records[-1][key]
