"""Find the folder of a run."""

from pathlib import Path

from nemotron import lineage
from nemotron.errors import UserError, did_you_mean
from nemotron.training.checkpoints.run_record import RUN_RECORD, read_json
from nemotron.training.reporting.report.run_files import MARKS_OF_A_RUN

_LOOK_DOWN = 3
"""Levels below a folder to search for runs to suggest."""


def find_run(reference: str, artifacts: Path) -> Path:
    """Find the output folder of a run.

    Args:
        reference: The output folder, its checkpoints, one of them, or a model artifact that was made here.
        artifacts: Folder of the artifact records.

    Raises:
        UserError: There is no run.
    """
    path = Path(reference)
    if path.is_dir():
        found = _run_at(path)
        if found is None:
            raise UserError(f"{path} is not a run: it has no metrics.jsonl and no run.json.", _advise_below(path))
        return found
    if path.exists():
        raise UserError(f"{path} is a file.", "Name the folder of a run: run.output_dir.")
    if "/" in reference:
        raise UserError(f"There is no folder {path}.", _advise_next_to(path))
    artifact = lineage.resolve(reference, artifacts, hint="Or name the folder of a run: run.output_dir.")
    found = _run_at(Path(artifact.path))
    if found is None:
        raise UserError(
            f"{artifact.reference} at {artifact.path} was not made by a training run.",
            "Name a model artifact of a run, or a run's folder: run.output_dir.",
        )
    return found


def _run_at(path: Path) -> Path | None:
    """Return the run of an output folder, or of a folder of checkpoints."""
    for folder in (path, path.parent, path.parent.parent):
        recorded = read_json(folder / RUN_RECORD).get("output_dir")
        # run.json is also next to the checkpoints. A run that was moved is where its records are.
        if recorded is not None and Path(recorded) != folder.absolute() and not (folder / "metrics.jsonl").is_file():
            folder = Path(recorded)
        is_near = folder == path or path.name == "checkpoints" or path.name.startswith("iter_") or recorded
        if is_near and _is_run(folder):
            return folder
    return None


def _is_run(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in MARKS_OF_A_RUN)


def _advise_below(path: Path) -> str:
    """Suggest the runs below a folder."""
    levels = ["/".join(["*"] * depth) for depth in range(1, _LOOK_DOWN + 1)]
    below = [folder for level in levels for folder in sorted(path.glob(level)) if folder.is_dir() and _is_run(folder)]
    runs = [str(folder) for folder in below if folder.name != "checkpoints" and not folder.name.startswith("iter_")]
    if not runs:
        return "Name the folder of a run: run.output_dir."
    return f"Did you mean {' or '.join(runs[:3])}?"


def _advise_next_to(path: Path) -> str:
    """Suggest the closest name to a folder that does not exist."""
    parent = next(folder for folder in path.absolute().parents if folder.is_dir())
    missing = path.absolute().relative_to(parent).parts[0]
    near = did_you_mean(missing, [each.name for each in parent.iterdir() if each.is_dir()])
    return f"{near} ({parent})" if near else "Name the folder of a run: run.output_dir."
