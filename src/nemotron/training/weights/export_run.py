"""The model that a run leaves: recorded and exported by the first rank, while the others wait."""

import os
from pathlib import Path
from typing import Any

from nemotron import lineage
from nemotron.folder_lock import wait_until_free
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.weights.export_hf import export_hf

MODEL_ARTIFACT = "ModelArtifact-sft"
"""The last checkpoint of a run."""
EXPORT_ARTIFACT = "ModelArtifact-sft-hf"
"""The Hugging Face folder, made from the checkpoint that ModelArtifact-sft is."""


def log_model(config: SftConfig, plan: Plan, run: RunFolder, records: list[dict[str, Any]]) -> str:
    """Record the run's last checkpoint, made from its data and from what it started from.

    Args:
        config: the training config.
        plan: what the run did.
        run: its folders.
        records: of metrics.jsonl; the last one describes the model.

    Returns:
        The artifact, as `name:version`.
    """
    last = records[-1] if records else {}
    metadata = {key: last.get(key) for key in ("iteration", "loss_stage", "token_loss", "sample_loss")}
    inputs = [plan.data] if plan.start.reference is None else [plan.data, plan.start.reference]
    return _log(config, MODEL_ARTIFACT, run.checkpoints, inputs, metadata)


def export_run(config: SftConfig, plan: Plan, run: RunFolder, model: str) -> tuple[Path, str]:
    """Export the run's last checkpoint to Hugging Face format, and record it.

    Args:
        model: the artifact of the checkpoint, as `name:version`.

    Returns:
        The folder, and its artifact.
    """
    folder = Path(config.convert_to_hf.output_dir or run.output / "hf")
    assert plan.tokenizer is not None
    export_hf(run.checkpoints, folder, config.recipe.hf_model, plan.tokenizer)
    return folder, _log(config, EXPORT_ARTIFACT, folder, [model])


def wait_for_first_rank(run: RunFolder, minutes: int) -> None:
    """Wait until the first rank has recorded and exported the model: until it lets go of the run's folder.

    Ranks that left would end its job: torchrun waits 300 s for those of other nodes, srun as long as its `--wait` says.
    """
    holder = wait_until_free(run.output, 60 * minutes)
    if holder is not None and os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"After convert_to_hf.timeout_minutes={minutes} this node no longer waits for the export by {holder}.")


def _log(config: SftConfig, name: str, path: Path, inputs: list[str], metadata: dict[str, Any] | None = None) -> str:
    artifact = lineage.log_artifact(
        name=name,
        type="model",
        path=path,
        metadata=metadata,
        inputs=inputs,
        aliases=["latest"],
        root=Path(config.run.artifacts),
        wandb_project=config.logger.get("wandb_project"),
        wandb_entity=config.logger.get("wandb_entity"),
    )
    return artifact.reference
