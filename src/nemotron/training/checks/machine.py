"""Refuse what this machine does not have: folders, a GPU, packages, the right to write."""

from collections.abc import Iterator
from pathlib import Path

from nemotron.errors import Problem, UserError, as_problem
from nemotron.lineage import check_root
from nemotron.training.backend import chosen_backend, missing_packages
from nemotron.training.checkpoints.hf_folder import is_path
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.reader import base_model_of
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checks.model import NAME_ONE
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData


def check_start_is_here(start: StartingPoint) -> Iterator[Problem]:
    """Yield a problem when what is named to start from is not on this machine."""
    if start.unresolved is not None:
        yield as_problem(start.unresolved)
    if start.checkpoint is not None and not start.checkpoint.exists():
        yield Problem(f"{start.setting}, which does not exist.", "Give the folder of a checkpoint.")


def check_model_is_here(hf_model: str) -> Iterator[Problem]:
    """Yield a problem when `recipe.hf_model` is a path that this machine does not have; an id is left to the hub."""
    if is_path(hf_model) and not Path(hf_model).exists():
        yield Problem(f"recipe.hf_model is {hf_model}, which does not exist.", NAME_ONE)


def check_tokenizer_is_here(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem when the folder of the tokenizer that training would use is not on this machine."""
    asked = config.tokenizer.get("tokenizer_model")
    used = asked or (data.tokenizer and data.tokenizer.model)
    if used and is_path(used) and not Path(used).exists():
        what = "tokenizer.tokenizer_model is" if asked else f"{data.reference} was made with the tokenizer"
        yield Problem(
            f"{what} {used}, which does not exist.",
            "Put it back, or name a copy of it: tokenizer.tokenizer_model=FOLDER",
        )


def check_artifacts(root: str) -> Iterator[Problem]:
    """Yield a problem when artifacts cannot be recorded in `run.artifacts`."""
    try:
        check_root(root)
    except UserError as error:
        yield as_problem(error)


def check_base_model(run: RunFolder) -> Iterator[Problem]:
    """Yield a problem when adapters are continued, and the model that they were trained on is gone."""
    if run.newest is None:
        return
    try:
        base_model_of(run.newest)
    except UserError as error:
        yield as_problem(error)


def check_backend(config: SftConfig, gpu: bool) -> Iterator[Problem]:
    """Yield a problem when `run.backend` or context parallelism lacks a GPU or kernels.

    Args:
        gpu: whether this machine has a GPU.
    """
    backend = config.run.backend
    if (config.model.get("context_parallel_size") or 1) > 1 and (layers := chosen_backend(config, gpu)) != "production":
        yield Problem(
            f"model.context_parallel_size={config.model['context_parallel_size']} takes Transformer Engine's "
            f"attention, which run.backend={layers} does not have.",
            "Leave it at 1, or train in the NeMo container.",
        )
    if backend in ("auto", "cpu"):
        return
    if not gpu:
        yield Problem(
            f"run.backend={backend} computes on a GPU, and there is none here.",
            "Use run.backend=cpu, or run.backend=auto, which takes what there is.",
        )
    elif backend == "production" and (missing := missing_packages()):
        yield Problem(
            f"run.backend=production needs {' and '.join(missing)}, not installed here.",
            "Train in the NeMo container, which has them, or use run.backend=torch: the same layers in plain torch.",
        )
