"""Read what a run records about itself: run.json, and its files of JSON Lines."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from nemotron.files.regular_files import read_text

RUN_RECORD = "run.json"
"""The file that identifies a run, in its output folder and next to its checkpoints (run_folder.py)."""
_TEXTS = ("output_dir", "checkpoints", "hf_model")
"""Fields of run.json that are paths or names."""


class SavingRun(NamedTuple):
    """The run that saved a checkpoint, as it records itself."""

    folder: Path | None
    """Its output folder; None if the run is not ours, or was moved."""
    record: dict[str, Any]
    """Its run.json; empty if the run is not ours."""

    @property
    def hf_model(self) -> str | None:
        """The Hugging Face id or folder that described the model; None if not recorded."""
        return self.record.get("hf_model")


def find_saving_run(iteration_dir: Path) -> SavingRun:
    """Find the run that saved a checkpoint.

    Its record is next to the checkpoints and in the output folder.
    """
    checkpoints = iteration_dir.absolute().parent
    around, beside = checkpoints.parent / RUN_RECORD, read_json(checkpoints / RUN_RECORD)
    record = beside or read_json(around)
    if around.is_file():
        return SavingRun(around.parent, record)
    output = beside.get("output_dir")
    return SavingRun(Path(output) if output is not None and Path(output).is_dir() else None, record)


def read_json(record: Path) -> dict[str, Any]:
    """Read a run.json; {} if it is missing, empty or unreadable.

    Its paths and names are text; anything else in their place is left out.
    """
    try:
        content = json.loads(read_text(record))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if key not in _TEXTS or _is_text(value)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the records of a JSON Lines file; [] if it is missing.

    Lines that are not records are skipped: a power failure leaves NULs, a full disk half a line.
    """
    if not path.exists():
        return []
    lines = read_text(path, errors="replace").split("\n")
    # A last line without a newline is still being written.
    return [record for record in map(_as_record, lines[:-1]) if record is not None]


def count_unreadable(path: Path) -> int:
    """Count the lines of a JSON Lines file that are not records, except the last line."""
    if not path.exists():
        return 0
    lines = read_text(path, errors="replace").split("\n")[:-1]
    return sum(_as_record(line) is None for line in lines)


def _as_record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("iteration"), int) else None


def find_gaps(records: Sequence[Mapping[str, Any]], finished: int, interval: int) -> list[tuple[int, int]]:
    """Find iterations whose records are missing from metrics.jsonl.

    Args:
        records: Its records, in order.
        finished: Iterations that it should cover.
        interval: Iterations between two records (logger.log_interval) in the newest session. Where several have another
            distance, it was larger in an earlier session.

    Returns:
        The first and the last iteration of each gap.
    """
    logged = [0, *sorted({record["iteration"] for record in records if 0 < record["iteration"] <= finished})]
    gaps: list[tuple[int, int]] = []
    usual = interval
    for distance, pairs in groupby(pairwise(logged), lambda pair: pair[1] - pair[0]):
        first, *others = pairs
        if distance <= interval:
            usual = interval
        elif others and first[0] % distance == 0:
            usual = distance
        elif distance > usual:
            gaps += [(before + 1, after - 1) for before, after in (first, *others)]
    is_cut = finished // interval > logged[-1] // interval
    return [*gaps, (logged[-1] + 1, finished)] if is_cut else gaps
