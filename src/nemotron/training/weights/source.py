"""Find the source of an imported model.

It is a Hugging Face folder, an id on the hub, or a Megatron checkpoint made elsewhere.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from nemotron.errors import UserError, explain_hub_errors, refuse
from nemotron.training.checkpoints.hf_folder import is_hf_folder
from nemotron.training.checkpoints.newest import find_checkpoint, is_iteration_dir
from nemotron.training.checks.model import check_megatron_checkpoint

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.py", "*.txt")
"""The files of a model to download: weights, configs, tokenizer, code."""
_SAVED = ("iter_*", "latest_checkpointed_iteration.txt", "latest_train_state.pt", "checkpoints/iter_*", "release")
"""A folder that a Megatron run saved to, or the folder around it, has at least one of these."""


@dataclass(frozen=True)
class Source:
    """A model on this machine."""

    name: str
    """The name in records: `hf://org/name@COMMIT`, or an absolute path."""
    model: str
    """The value for recipe.hf_model: the id, or the folder of the model or checkpoint."""
    folder: Path
    """A folder with config.json and *.safetensors, or a checkpoint's `iter_*` folder."""
    revision: str | None
    """The commit, for a model of the hub."""
    is_megatron: bool


def find_source(given: str, revision: str | None = None, *, mtp: bool = True) -> Source:
    """Find the source of a model; a model on the hub is downloaded to the hub's cache.

    Args:
        given: A folder, or an id such as `org/name`.
        revision: A branch, tag or commit, for an id.
        mtp: Whether the layers of multi-token prediction are needed.

    Raises:
        UserError: The model does not exist, is incomplete, or cannot be downloaded.
    """
    folder = Path(given)
    if not folder.exists():
        if not _ID.fullmatch(given):
            raise UserError(
                f"{given} does not exist.", "Give a folder, or an id of the Hugging Face hub such as org/name."
            )
        return _download(given, revision)
    if revision is not None:
        raise UserError(
            f"--revision {revision} is for models of the hub, but {given} is a folder.", "Remove --revision."
        )
    folder = folder.resolve()
    if is_hf_folder(folder) and any(folder.glob("*.safetensors")):
        return Source(str(folder), str(folder), folder, None, is_megatron=False)
    if folder.is_dir() and (is_iteration_dir(folder) or any(any(folder.glob(name)) for name in _SAVED)):
        checkpoint = find_checkpoint(folder)
        iteration = checkpoint.folder
        refuse(check_megatron_checkpoint(checkpoint.saved, iteration, f"The checkpoint is {iteration}", mtp))
        return Source(str(iteration), str(iteration), iteration, None, is_megatron=True)
    raise UserError(
        f"{given} is not a model: a Hugging Face folder has config.json and *.safetensors, and a folder that Megatron "
        "saved to has iter_* folders.",
        "Download one first: hf download nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16 --local-dir FOLDER",
    )


def _download(model: str, revision: str | None) -> Source:
    from huggingface_hub import snapshot_download

    with explain_hub_errors(f"The model {model} (no folder here)", "model", model, revision):
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=list(_FILES)))
    commit = folder.name
    return Source(f"hf://{model}@{commit}", model, folder, commit, is_megatron=False)
