"""Record and export the model of a run on the first rank, while the others wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron import lineage
from nemotron.config import Loaded
from nemotron.lineage.digest import compute_digest
from nemotron.lineage.inputs import describe_source
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.weights.export_adapter import export_adapter
from nemotron.training.weights.export_hf import export_hf

MODEL_ARTIFACT = "ModelArtifact-sft"
"""The artifact of a run's last checkpoint."""
EXPORT_ARTIFACT = "ModelArtifact-sft-hf"
"""The artifact of the Hugging Face folder, exported from that checkpoint."""
ADAPTER_ARTIFACT = "ModelArtifact-sft-adapter"
"""The artifact of the folder for peft, exported from that checkpoint."""
_LOSSES = ("token_loss", "sample_loss")


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a finished run."""

    artifact: str = ""
    """The model artifact, as `name:version`; empty if the run was stopped."""
    hf_folder: Path | None = None
    """The Hugging Face export, if one was requested."""
    hf_artifact: str = ""
    """The artifact of the export, as `name:version`; empty without one."""


@dataclass(frozen=True)
class FinishedRun:
    """A run whose training is complete, and the checkpoint that it ended with."""

    loaded: Loaded[SftConfig]
    plan: Plan
    data: PreparedData
    folder: RunFolder
    checkpoint: Checkpoint
    """The last one."""
    records: Mapping[str, Sequence[Mapping[str, Any]]]
    """Name of a file of records -> its records."""


def record_model(run: FinishedRun) -> Recorded:
    """Record the model of a run, and export it if the config asks for it.

    The model is recorded first, in case the export fails or is killed.
    """
    artifact = log_model(run)
    if not run.loaded.config.convert_to_hf.enabled:
        return Recorded(artifact)
    return Recorded(artifact, *export_run(run, artifact))


def log_model(run: FinishedRun) -> str:
    """Record the run's last checkpoint, its data and its starting point.

    The metadata has the last losses on each split, and the row counts of the data.

    Returns:
        The artifact, as `name:version`.
    """
    last = {name: found[-1] if found else {} for name, found in run.records.items()}
    metadata: dict[str, Any] = {key: last["metrics"].get(key) for key in ("iteration", "loss_stage", *_LOSSES)}
    metadata |= {
        split: {key: last[split].get(key) for key in ("iteration", *_LOSSES)}
        for split in ("validation", "test")
        if last[split]
    }
    metadata["data"] = run.data.counts
    inputs = [run.data.reference, *_start(run.loaded.config, run.plan)]
    digest = compute_digest(run.checkpoint.folder)
    return _log(run.loaded, MODEL_ARTIFACT, run.folder.checkpoints, inputs, metadata, digest)


def _start(config: SftConfig, plan: Plan) -> list[str]:
    """Return the starting point of a run; [] if it has only `checkpoint.load`."""
    if plan.start.reference is not None:
        return [plan.start.reference]
    if config.recipe.random_start is not None:
        return [f"random weights, seed {config.recipe.random_start}: {describe_source(config.recipe.hf_model)[0]}"]
    return []


def export_run(run: FinishedRun, model: str) -> tuple[Path, str]:
    """Export the run's last checkpoint to Hugging Face format, and record it.

    Args:
        run: The run.
        model: The artifact of its model, as `name:version`.

    Returns:
        The folder, and its artifact.
    """
    config = run.loaded.config
    name, export, folder = EXPORT_ARTIFACT, export_hf, config.exports_to
    if config.convert_to_hf.adapter:
        name, export = ADAPTER_ARTIFACT, export_adapter
    assert run.plan.tokenizer is not None
    export(run.checkpoint, folder, config.recipe.hf_model, run.plan.tokenizer)
    return folder, _log(run.loaded, name, folder, [model])


def record_export(iteration_dir: Path, folder: Path, root: Path, *, adapter: bool = False) -> lineage.Artifact:
    """Record an export that was made outside of a run, as made from its checkpoint.

    Args:
        iteration_dir: The checkpoint's `iter_*` folder.
        folder: The Hugging Face folder.
        root: Folder of the artifact records.
        adapter: Whether it has adapters only.
    """
    name = ADAPTER_ARTIFACT if adapter else EXPORT_ARTIFACT
    return lineage.log_artifact(name=name, type="model", path=folder, root=root, inputs=[str(iteration_dir)])


def _log(
    loaded: Loaded[SftConfig],
    name: str,
    path: Path,
    inputs: list[str],
    metadata: dict[str, Any] | None = None,
    digest: str | None = None,
) -> str:
    artifact = lineage.log_artifact(
        name=name,
        type="model",
        path=path,
        metadata=metadata,
        inputs=inputs,
        aliases=["latest"],
        digest=digest,
        config=loaded.tree,
        root=Path(loaded.config.run.artifacts),
        wandb_project=loaded.config.logger.get("wandb_project"),
        wandb_entity=loaded.config.logger.get("wandb_entity"),
    )
    return artifact.reference
