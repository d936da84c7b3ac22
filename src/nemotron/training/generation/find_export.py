"""Find the Hugging Face folder of a run, an export or an artifact."""

from collections.abc import Callable
from pathlib import Path

from nemotron.errors import UserError
from nemotron.lineage import resolve
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.hf_folder import ADAPTER_CONFIG, is_hf_folder
from nemotron.training.checkpoints.newest import find_checkpoint
from nemotron.training.checkpoints.run_record import RUN_RECORD, find_saving_run
from nemotron.training.generation.memory import refuse_export_beyond_memory
from nemotron.training.weights.export_hf import export_hf
from nemotron.training.weights.model_card import read_iteration

EXPORT, OWN_EXPORT = "hf", "chat"
"""Folders in a run's folder: of `model export`, and of an export that `model chat` made."""


def find_export(named: str, artifacts: Path, on_export: Callable[[Path], None] = lambda checkpoint: None) -> Path:
    """Find the Hugging Face folder of a model, exporting it if necessary.

    If a run's newest checkpoint is not exported, it is exported into the run's folder, with adapters merged. The export
    stays there until the run has a newer checkpoint.

    Args:
        named: A run's output folder, a Megatron checkpoint, an exported folder (also of adapters only), or an artifact.
        artifacts: Folder of the artifact records.
        on_export: Called with the checkpoint before it is exported, which takes a while.

    Raises:
        UserError: The model does not exist, has no checkpoint yet, or could not be exported.
    """
    path = Path(named)
    if not path.exists():
        path = Path(resolve(named, artifacts).path)
    if is_hf_folder(path) or (path / ADAPTER_CONFIG).is_file():
        return path
    checkpoint = _newest(path)
    saved_by = find_saving_run(checkpoint.folder)
    run, model = saved_by.folder, saved_by.hf_model
    for folder in () if run is None else (run / EXPORT, run / OWN_EXPORT):
        if _is_of(folder, checkpoint.folder):
            return folder
    if run is None or model is None:
        raise UserError(
            f"{checkpoint.folder} does not record which Hugging Face model it is.",
            f"Export it, and name that folder: nemotron super3 model export {named} -o DIR --hf-model ID|DIR",
        )
    refuse_export_beyond_memory(checkpoint.folder, model)
    on_export(checkpoint.folder)
    return export_hf(checkpoint, run / OWN_EXPORT, model, checkpoint.tokenizer or model)


def _newest(path: Path) -> Checkpoint:
    try:
        return find_checkpoint(path)
    except UserError:
        saved = path / "checkpoints"
        if (path / RUN_RECORD).is_file() and not any(saved.glob("iter_*")):
            raise UserError(
                f"{path} is a run that has saved no checkpoint yet.",
                "Wait for the first one, after checkpoint.save_interval iterations, or continue the run.",
            ) from None
        raise


def _is_of(folder: Path, checkpoint: Path) -> bool:
    """Tell whether a folder is an export of the checkpoint in its current state."""
    card = folder / "README.md"
    if not is_hf_folder(folder) or not card.is_file() or not any(folder.glob("*.safetensors")):
        return False
    saved = max(file.stat().st_mtime_ns for file in checkpoint.iterdir())
    return checkpoint.name == f"iter_{read_iteration(card) or 0:07}" and card.stat().st_mtime_ns >= saved
