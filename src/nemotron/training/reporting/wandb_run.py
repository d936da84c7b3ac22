"""Open the W&B run of a training run, on the last rank, which has the losses."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron import lineage
from nemotron.config import Loaded
from nemotron.lineage import tracking
from nemotron.lineage.access import Target
from nemotron.secrets import mask_text
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.ranks import is_first, is_last

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run


@dataclass(frozen=True)
class WandbRecord:
    """Where a training run is recorded in W&B."""

    target: Target | None
    """The project, and whether the server can be reached; None if nothing is recorded."""
    folder: Path
    """The folder that gets `wandb/`, with the client's files."""
    name: str
    """The name of the run."""
    opened: "Run | None" = None
    """The W&B run that gets the curves, on the rank that has it open."""

    def describe(self) -> list[str]:
        """Describe in a line what happens if the server cannot be reached."""
        if self.target is None or self.target.unreachable is None:
            return []
        kept = f"recorded in {self.folder}/wandb; `wandb sync` uploads it later"
        return [f"W&B: {self.target.unreachable}. The run continues and is {kept}."]

    def record_end(self, evaluated: Mapping[str, Sequence[Mapping[str, Any]]], *, stopped: bool) -> None:
        """Record the last losses and how the run ended in the open W&B run.

        Args:
            evaluated: Name of an evaluation -> its records.
            stopped: Whether a signal or a time limit ended the run.
        """
        if self.opened is None:
            return
        losses = {
            f"{split}_{key}": value for split, records in evaluated.items() for key, value in _last_losses(records)
        }
        tracking.summarize(losses, stopped=stopped)


def find_wandb(config: SftConfig, run: RunFolder, *, has_work: bool) -> WandbRecord:
    """Find where a run is recorded in W&B.

    Only the first rank, which reports it, and the last rank, which opens it, contact the server.

    Args:
        config: The training config.
        run: The folders of the run.
        has_work: Whether there is anything left to train or to evaluate. A finished run is opened again only if W&B
            does not have its model.
    """
    logger, artifacts = config.logger, Path(config.run.artifacts)
    folder = Path(logger.get("wandb_save_dir") or run.output)
    asks = is_first() or is_last()
    made = None if has_work or not asks else _find_model(run, artifacts)
    name = mask_text(logger.get("wandb_exp_name") or run.output.name)
    if not asks:
        return WandbRecord(None, folder, name)
    project, entity = logger.get("wandb_project"), logger.get("wandb_entity")
    return WandbRecord(tracking.find_open_target(project, entity, artifacts, made), folder, name)


def _find_model(run: RunFolder, artifacts: Path) -> lineage.Artifact | None:
    """Find the artifact of a finished run's model."""
    with contextlib.suppress(lineage.ArtifactError):
        return lineage.resolve(str(run.checkpoints), artifacts)
    return None


@contextlib.contextmanager
def wandb_run(loaded: Loaded[SftConfig], run: RunFolder, *, has_work: bool) -> Iterator[WandbRecord]:
    """Keep the W&B run open on the last rank, which has the losses.

    Args:
        loaded: The training config.
        run: The folders of the run.
        has_work: As in `find_wandb`.
    """
    record = find_wandb(loaded.config, run, has_work=has_work)
    with tracking.wandb_run(
        record.target if is_last() else None,
        state=run.output / tracking.RUN_FILE,
        folder=record.folder,
        name=record.name,
        job_type="sft",
        config=loaded.tree,
    ) as opened:
        yield replace(record, opened=opened)


def _last_losses(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    for key in ("token_loss", "sample_loss"):
        if records and records[-1].get(key) is not None:
            yield key, records[-1][key]
