"""What a run starts from, looked at before anything else is: a checkpoint, a Hugging Face folder, a seed."""

from dataclasses import dataclass
from pathlib import Path

from nemotron import lineage
from nemotron.errors import UserError
from nemotron.training.checkpoints.hf_folder import check_weights, is_hf_folder
from nemotron.training.checkpoints.reader import latest_iteration, run_config
from nemotron.training.config import SftConfig

WITHOUT_MTP = "train without multi-token prediction: model.mtp_num_layers=null"


@dataclass(frozen=True)
class StartingPoint:
    """Where the weights of a new run come from."""

    checkpoint: Path | None
    """A Megatron checkpoint or a Hugging Face folder. None: random weights from a seed, `checkpoint.load` alone, or
    nothing yet."""
    description: str
    """For the plan."""


def starting_point(config: SftConfig, *, here: bool = True) -> StartingPoint:
    """Find what `config` starts from, and refuse what no run could start from.

    Args:
        here: whether this machine is the one that trains. A path that another machine may have is not refused for not
            being here.

    Raises:
        UserError: what is named does not exist, holds adapters, or lacks weights.
    """
    given = config.checkpoint.get("pretrained_checkpoint")
    if given is not None:
        return _of_path(Path(given), config, f"checkpoint.pretrained_checkpoint is {given}", "", here)
    if config.run.model is not None:
        artifact = lineage.resolve(
            config.run.model, Path(config.run.artifacts), hint="Set run.model to a model artifact."
        )
        path = Path(artifact.path)
        return _of_path(path, config, f"run.model is {artifact.reference}, at {path}", f"{artifact.reference}: ", here)
    if config.recipe.random_start is not None:
        return StartingPoint(None, f"random weights, seed {config.recipe.random_start}")
    other = config.checkpoint.get("load")
    return StartingPoint(None, "nothing: no model is named" if other is None else f"the run saved in {other}")


def check_start(config: SftConfig) -> None:
    """Refuse a run without a model to start from, before hours of work or a place in a queue are spent on it.

    Raises:
        UserError: neither a checkpoint, nor an artifact, nor a seed is named.
    """
    named = (*(config.checkpoint.get(key) for key in ("pretrained_checkpoint", "load")), config.run.model)
    if config.recipe.random_start is None and all(value is None for value in named):
        raise UserError(
            "There is no model to start from.",
            "Set checkpoint.pretrained_checkpoint=/path/to/megatron/checkpoint, or run.model to a model artifact.",
        )


def _of_path(path: Path, config: SftConfig, said: str, prefix: str, here: bool) -> StartingPoint:
    if not path.exists():
        if here:
            raise UserError(f"{said}, which does not exist.", "Give the folder of a checkpoint.")
        return StartingPoint(path, f"{prefix}{path} (not on this machine)")
    wants_mtp = bool(config.model.get("mtp_num_layers", 2))  # the recipe's, where a YAML leaves it open
    if is_hf_folder(path):
        check_weights(path, mtp=wants_mtp, way_out=f"{WITHOUT_MTP}.")
        return StartingPoint(path, f"{prefix}{path} (Hugging Face folder)")
    iteration = latest_iteration(path)
    saved = run_config(iteration)
    if saved.get("peft") is not None:
        raise UserError(
            f"{said}, which holds adapters and not a whole model.",
            f"Merge them first: nemotron super3 model export {path} -o FOLDER; FOLDER can be started from.",
        )
    if wants_mtp and saved.get("model") and not saved["model"].get("mtp_num_layers"):
        raise UserError(
            f"{said}, which was saved without multi-token prediction: its layers would start from random numbers.",
            f"Name a checkpoint that has them, or {WITHOUT_MTP}.",
        )
    return StartingPoint(path, f"{prefix}{iteration if iteration != path else path} (Megatron checkpoint)")
