"""The blend file: which datasets, and what share of the mix each gets.

{"datasets": [{"name": "chat", "path": "chat.jsonl", "weight": 2.0}, ...]}       split by ratio
{"train": [...], "valid": [...], "test": [...]}                                  split by hand
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from nemotron.data_prep.splits import SPLITS
from nemotron.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Dataset:
    """One entry of a blend. What is None falls back to the config."""

    name: str
    path: str
    """A file, a folder or a glob; relative to the blend file."""
    weight: float | None = None
    """Share of the conversations in the mix, relative to the other weights. None: everything there is."""
    filter: str | None = None
    """Overrides the config's used_in_filter."""
    messages_field: str | None = None
    tools_field: str | None = None
    recursive: bool = False
    """Look into the subfolders of a folder too."""
    goes_to: str | None = None
    """The split, when the blend lists its splits by hand."""


@dataclass(frozen=True)
class Blend:
    """A blend file, read and checked. Dataset paths are absolute, names are unique."""

    path: Path
    datasets: tuple[Dataset, ...]


KEYS = tuple(field.name for field in fields(Dataset) if field.name != "goes_to")


def read_blend(path: str | Path) -> Blend:
    """Read a blend file. Raises UserError for a missing or broken one, naming the entry at fault."""
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        siblings = [str(other) for other in path.parent.glob("*.json")]
        raise UserError(
            f"The blend file {path} does not exist.",
            did_you_mean(str(path), siblings) or "Set blend_path to a JSON file that lists the datasets.",
        )
    try:
        content = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno} is not valid JSON: {error.msg}.", "Mend the blend file.") from None
    entries = list(_entries(path, content))
    datasets = tuple(_dataset(path, where, entry, goes_to) for where, entry, goes_to in entries)
    _check(path, datasets)
    return Blend(path, datasets)


def _entries(path: Path, content: Any) -> list[tuple[str, Any, str | None]]:
    """(where in the file, entry, split) of every dataset in either form."""
    if isinstance(content, dict) and isinstance(content.get("datasets"), list) and len(content) == 1:
        return [(f"datasets[{i}]", entry, None) for i, entry in enumerate(content["datasets"])]
    if isinstance(content, dict) and content and all(key in SPLITS for key in content):
        return [(f"{split}[{i}]", entry, split) for split in content for i, entry in enumerate(content[split] or ())]
    raise UserError(
        f"{path} is not a blend.",
        'Write {"datasets": [{"name": ..., "path": ...}, ...]}, or such lists under "train", "valid" and "test".',
    )


def _dataset(blend_path: Path, where: str, entry: Any, goes_to: str | None) -> Dataset:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise UserError(f"{blend_path}: {where} has no path.", 'Each dataset needs at least "path".')
    for key in entry:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"Known keys: {', '.join(KEYS)}."
            raise UserError(f'{blend_path}: {where} has the unknown key "{key}".', hint)
    weight = entry.get("weight")
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0):
        raise UserError(
            f"{blend_path}: {where} has the weight {weight!r}.",
            "A weight is a number above 0; leave a dataset out by removing its entry.",
        )
    path = entry["path"]
    local = path if "://" in path else str(blend_path.parent / Path(path).expanduser())
    stem = Path(path.rstrip("/")).name.split(".")[0]
    given = {**entry, "path": local, "name": _folder_name(str(entry.get("name") or stem)), "goes_to": goes_to}
    return Dataset(**given)


def _folder_name(name: str) -> str:
    """Dataset names become folder names: anything else than letters, digits, `.`, `_` and `-` becomes `-`."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "dataset"


def _check(path: Path, datasets: Sequence[Dataset]) -> None:
    if not datasets:
        raise UserError(f"{path} lists no dataset.", 'Add one: {"datasets": [{"name": "chat", "path": "chat.jsonl"}]}.')
    seen: set[tuple[str, str | None]] = set()
    for dataset in datasets:
        if (dataset.name, dataset.goes_to) in seen:
            raise UserError(f'{path} has two datasets named "{dataset.name}".', "Give each its own name.")
        seen.add((dataset.name, dataset.goes_to))
    unweighted = [dataset.name for dataset in datasets if dataset.weight is None]
    if unweighted and len(unweighted) < len(datasets):
        raise UserError(
            f'{path} gives some datasets a weight, but not "{unweighted[0]}".', "Give every dataset a weight, or none."
        )


def mix_counts(available: Sequence[int], weights: Sequence[float | None]) -> list[int]:
    """How many conversations of each dataset the largest mix without repeats takes.

    Without weights that is everything. With weights the dataset that runs out first limits the others, so that the
    shares are as asked to within one conversation. Datasets that have nothing to give do not count.
    """
    if any(weight is None for weight in weights):
        return list(available)
    shares = np.array([weight if count else 0.0 for weight, count in zip(weights, available, strict=True)], float)
    if not shares.any():
        return [0] * len(available)
    largest = min(count / share for count, share in zip(available, shares, strict=True) if share)
    return [int(np.floor(share * largest + 1e-9)) for share in shares]
