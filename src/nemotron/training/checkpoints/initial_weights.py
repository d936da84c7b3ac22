"""What a run starts from: a checkpoint, a Hugging Face folder, a seed. Found here, refused in checks/."""

from dataclasses import dataclass
from pathlib import Path

from nemotron import lineage
from nemotron.errors import UserError
from nemotron.training.checkpoints.hf_folder import is_hf_folder
from nemotron.training.checkpoints.reader import latest_iteration
from nemotron.training.config import SftConfig


@dataclass(frozen=True)
class StartingPoint:
    """Where the weights of a new run come from."""

    checkpoint: Path | None
    """A Megatron checkpoint or a Hugging Face folder. None: random weights from a seed, `checkpoint.load` alone, or
    nothing yet."""
    description: str
    """For the plan."""
    setting: str = ""
    """What names the checkpoint, for messages: `run.model is ModelArtifact-sft:v3, at /models/3`."""
    unresolved: UserError | None = None
    """Why the artifact of run.model could not be looked up on this machine."""


def find_start(config: SftConfig) -> StartingPoint:
    """Find out what a run starts from. Nothing is refused: what is named may be on another machine."""
    given = config.checkpoint.get("pretrained_checkpoint")
    if given is not None:
        return _of_path(Path(given), f"checkpoint.pretrained_checkpoint is {given}")
    if config.run.model is not None:
        return _of_artifact(config.run.model, Path(config.run.artifacts))
    if config.recipe.random_start is not None:
        return StartingPoint(None, f"random weights, seed {config.recipe.random_start}")
    other = config.checkpoint.get("load")
    return StartingPoint(None, "nothing: no model is named" if other is None else f"the run saved in {other}")


def _of_artifact(model: str, artifacts: Path) -> StartingPoint:
    try:
        artifact = lineage.resolve(model, artifacts, hint="Set run.model to a model artifact.")
    except UserError as error:
        return StartingPoint(None, f"{model} (not on this machine)", f"run.model is {model}", error)
    path = Path(artifact.path)
    return _of_path(path, f"run.model is {artifact.reference}, at {path}", f"{artifact.reference}: ")


def _of_path(path: Path, setting: str, prefix: str = "") -> StartingPoint:
    if not path.exists():
        return StartingPoint(path, f"{prefix}{path} (not on this machine)", setting)
    if is_hf_folder(path):
        return StartingPoint(path, f"{prefix}{path} (Hugging Face folder)", setting)
    try:
        iteration = latest_iteration(path)
    except UserError:  # refused in checks/model.py
        return StartingPoint(path, f"{prefix}{path}", setting)
    return StartingPoint(path, f"{prefix}{iteration} (Megatron checkpoint)", setting)
