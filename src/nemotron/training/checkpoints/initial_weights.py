"""Find what a run starts from: a checkpoint, a Hugging Face folder, or a seed.

Nothing is refused here; checks/ does that.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from nemotron import lineage
from nemotron.errors import UserError
from nemotron.files.paths import is_path
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.hf_folder import is_hf_folder
from nemotron.training.checkpoints.newest import find_latest
from nemotron.training.config import SftConfig

PRETRAINED = "ModelArtifact-pretrain"
"""The artifact that a run starts from by default."""


@dataclass(frozen=True)
class StartingPoint:
    """Where the weights of a new run come from."""

    checkpoint: Path | None
    """A Megatron checkpoint or a Hugging Face folder. None means random weights from a seed, only `checkpoint.load`, or
    nothing."""
    description: str
    """Description for the plan."""
    setting: str = ""
    """The setting that names the checkpoint, for messages: `run.model is ModelArtifact-sft:v3, at /models/3`."""
    reference: str | None = None
    """Its reference for lineage: its path, or the exact version of the artifact."""
    is_hf: bool = False
    """Whether it is a Hugging Face folder."""
    megatron: Checkpoint | None = None
    """The newest Megatron checkpoint there."""
    tokenizer: str | None = None
    """The place of its tokenizer, if known."""
    unreadable: UserError | None = None
    """Why the folder has no complete Megatron checkpoint."""
    unresolved: UserError | None = None
    """Why the artifact of run.model could not be looked up on this machine."""


def find_start(config: SftConfig) -> StartingPoint:
    """Find what a run starts from.

    Nothing is refused, because it may be on another machine.
    """
    start = _name_start(config)
    path = start.checkpoint
    if path is None:
        return start
    if not path.exists():
        return replace(start, description=f"{start.description} (not on this machine)")
    if is_hf_folder(path):
        return replace(start, description=f"{start.description} (Hugging Face folder)", is_hf=True, tokenizer=str(path))
    try:
        newest = find_latest(path)
    except UserError as error:
        return replace(start, unreadable=error)
    return replace(
        start,
        description=f"{start.description.removesuffix(str(path))}{newest.folder} (Megatron checkpoint)",
        megatron=newest,
        tokenizer=newest.tokenizer,
    )


def _name_start(config: SftConfig) -> StartingPoint:
    """Find out what the config names to start from, without looking at it."""
    given, model = config.checkpoint.get("pretrained_checkpoint"), config.run.model
    if given is not None:
        path = Path(given)
        return StartingPoint(path, str(path), f"checkpoint.pretrained_checkpoint is {given}", str(given))
    if model is not None:
        try:
            artifact = lineage.resolve(model, Path(config.run.artifacts), hint=_how_to_make(config))
        except UserError as error:
            return StartingPoint(None, f"{model} (not on this machine)", f"run.model is {model}", unresolved=error)
        name, path = artifact.reference, Path(artifact.path)
        return StartingPoint(path, f"{name}: {path}", f"run.model is {name}, at {path}", name)
    if config.recipe.random_start is not None:
        return StartingPoint(None, f"random weights, seed {config.recipe.random_start}")
    other = config.checkpoint.get("load")
    return StartingPoint(None, "nothing: no model is set" if other is None else f"the run saved in {other}")


def _how_to_make(config: SftConfig) -> str:
    """Return a hint on how to get the artifact of run.model."""
    if str(config.run.model).split(":")[0] != PRETRAINED:
        return "Set run.model to a model artifact."
    source = "HF_FOLDER" if is_path(config.recipe.hf_model) else config.recipe.hf_model
    return (
        f"Make it with: nemotron super3 model import {source}; register a Megatron checkpoint made elsewhere "
        "with: nemotron super3 model import FOLDER"
    )


def base_model_of(checkpoint: Checkpoint) -> Checkpoint | None:
    """Return the model whose adapters a checkpoint holds.

    None when it holds a whole model.

    Raises:
        UserError: It holds adapters, and their model is not where it was.
    """
    if checkpoint.saved.get("peft") is None:
        return None
    base = str((checkpoint.saved.get("checkpoint") or {}).get("pretrained_checkpoint"))
    try:
        return find_latest(Path(base))
    except UserError:
        raise UserError(
            f"{checkpoint.folder} has adapters, but the model that they were trained on is not at {base}.",
            "Restore that checkpoint, or correct checkpoint.pretrained_checkpoint in its run_config.yaml.",
        ) from None
