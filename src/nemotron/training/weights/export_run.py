"""The export that ends a run: made by the first rank, while the others wait."""

import os
from pathlib import Path

from nemotron import lineage
from nemotron.folder_lock import wait_until_free
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.weights.export_hf import export_hf

EXPORT_ARTIFACT = "ModelArtifact-sft-hf"
"""The Hugging Face folder, made from the checkpoint that ModelArtifact-sft is."""


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
    artifact = lineage.log_artifact(
        name=EXPORT_ARTIFACT,
        type="model",
        path=folder,
        inputs=[model],
        aliases=["latest"],
        root=Path(config.run.artifacts),
        wandb_project=config.logger.get("wandb_project"),
        wandb_entity=config.logger.get("wandb_entity"),
    )
    return folder, artifact.reference


def wait_for_first_rank(run: RunFolder, minutes: int) -> None:
    """Wait until the first rank has recorded and exported the model: until it lets go of the run's folder.

    Ranks that left would end its job: torchrun waits 300 s for those of other nodes, srun as long as its `--wait` says.
    """
    holder = wait_until_free(run.output, 60 * minutes)
    if holder is not None and os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"After convert_to_hf.timeout_minutes={minutes} this node no longer waits for the export by {holder}.")
