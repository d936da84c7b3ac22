"""Find the splits of packed Parquet that was made elsewhere, and its records."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import Problem, UserError, did_you_mean
from nemotron.files.regular_files import read_text
from nemotron.lineage import ArtifactError, resolve

SPLITS = ("train", "valid", "test")
IMPORTED = "imported_from"
"""Key of a field that registered data has, but data made here has not."""
_OTHER_NAMES = {"validation": "valid", "val": "valid", "dev": "valid", "training": "train"}
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Found:
    """Packed Parquet on disk."""

    folder: Path
    """The absolute folder with train/, valid/ and test/."""
    files: dict[str, list[Path]]
    """The sorted files of each split that has any."""
    record: dict[str, Any]
    """What was recorded with it: pack_size, pad_to_multiple, tokenizer, run_hash; empty if nothing is known."""
    digest: str | None = None
    """Digest of the content, as recorded by data prep."""


def find_splits(given: Path) -> Found:
    """Find the splits in a folder, or in `splits` below it.

    This is the layout of the public recipe, and ours.

    Raises:
        UserError: There is no such folder, or it has no training split.
    """
    folder = given.absolute()
    if not folder.is_dir():
        raise UserError(
            f"{given} is {'a file' if folder.exists() else 'not there'}.",
            "Give the folder with train/, valid/ and test/, or the folder around it with splits/.",
        )
    splits = folder / "splits" if (folder / "splits").is_dir() else folder
    files = {split: found for split in SPLITS if (found := _find_parquet(splits / split))}
    if "train" not in files:
        raise _explain_no_train(splits)
    try:
        artifact = resolve(str(splits), "")
    except ArtifactError:  # not ours, or a damaged record
        return Found(splits, files, _read_public_record(files["train"]))
    if IMPORTED in artifact.metadata:
        return Found(splits, files, _read_public_record(files["train"]))
    return Found(splits, files, artifact.metadata, artifact.digest)


def check_files(found: Found) -> Iterator[Problem]:
    """Yield a problem for each file that is unreadable or in two splits.

    A split that was made again may still have links to an earlier run.
    """
    seen: dict[Path, Path] = {}
    for path in (path for files in found.files.values() for path in files):
        real = path.resolve()
        if path.is_symlink() and not real.exists():
            yield Problem(
                f"{path} is a link to {real}, which does not exist.", "Put that file back, or remove the link."
            )
        elif path.suffix != ".parquet":
            yield Problem(f"{path} is not called *.parquet, and would not be read.", "Rename it.")
        elif real in seen:
            yield Problem(
                f"{path} and {seen[real]} are the same file, so the same data would be evaluated or trained twice.",
                "Remove one of the two links.",
            )
        seen.setdefault(real, path)
    runs = {run: path for path in seen.values() if (run := _run_of(path)) is not None}
    if len(runs) > 1:
        (one, first), (other, second), *_ = runs.items()
        yield Problem(
            f"{first} is from run {one.name}, but {second} is from run {other.name}.",
            "Remove the links to the earlier run, or split the data again into an empty folder.",
        )


def _find_parquet(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in _PARQUET and not path.name.startswith("."))


def _explain_no_train(splits: Path) -> UserError:
    named = {path.name: path for path in splits.iterdir() if path.is_dir() and _find_parquet(path)}
    if other := next((name for name in named if name in _OTHER_NAMES), None):
        hint = f"Rename {other} to {_OTHER_NAMES[other]}; the splits are called {', '.join(SPLITS)}."
    elif _find_parquet(splits):
        hint = f"Its Parquet files belong to no split. To train on all of them: mkdir DIR && ln -s {splits} DIR/train"
    else:
        near = did_you_mean("train", named)
        hint = " ".join(filter(None, [near, "Put packed Parquet in train/, and in valid/ for validation."]))
    return UserError(f"{splits} has no Parquet in train/.", hint)


def _run_of(path: Path) -> Path | None:
    """Return the run folder that a link of the public recipe points into.

    The run is .../runs/HASH of .../runs/HASH/datasets/...
    """
    found = re.match(r".*/runs/[^/]+(?=/)", str(path.resolve())) if path.is_symlink() else None
    return Path(found[0]) if found else None


def _read_public_record(files: list[Path]) -> dict[str, Any]:
    """Read pack size and tokenizer from the public recipe's run that links point into.

    The run has a config.json.
    """
    run = next((run for path in files if (run := _run_of(path)) is not None), None)
    if run is None:
        return {}
    config = _read_object(run / "config.json")
    output, tokenizer = config.get("output"), config.get("tokenizer")
    record: dict[str, Any] = {}
    if isinstance(output, dict) and isinstance(output.get("pack_size"), int):
        record["pack_size"] = output["pack_size"]
    if isinstance(tokenizer, dict) and isinstance(tokenizer.get("model"), str):
        record["tokenizer"] = {"model": tokenizer["model"]}
    return record


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(file))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
