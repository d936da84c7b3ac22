"""Fingerprint the files of a checkpoint when it is saved, and compare them later.

Sizes and torch's own checksums do not tell a shard from that of another iteration. Small checkpoints are read whole. Of
larger ones, only the ends of the first and the last part of each shard are read, because every rank compares them:
torch's zip archives have the checksums of their tensors there. Each rank compares those with the tensors that it loads
(verified_parts.py).
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Any

from nemotron.files.atomic_files import checksum, write_json
from nemotron.files.regular_files import open_file, read_bytes
from nemotron.training.checkpoints.torch_files import StoredParts, find_damaged_shard, read_stored_parts

RECORD = "fingerprints.json"
"""The file with the fingerprints, next to run_config.yaml and written just before it."""
LARGEST_READ_WHOLE = 64 * 2**20
"""The most bytes that shards of a checkpoint may have together to be read whole."""
_SMALL = (".metadata", "metadata.json", "common.pt", "train_state.pt")
_END = 1024
_READERS = 16


def fingerprint_saves(config_class: Any) -> None:
    """Have Megatron-Bridge write fingerprints of what it saves.

    They come just before run_config.yaml, which both lines write last, on the first rank, when the files of all ranks
    are complete (also with async_save). A second call does nothing.

    Args:
        config_class: Megatron-Bridge's ConfigContainer.
    """
    to_yaml = config_class.to_yaml
    if hasattr(to_yaml, "__wrapped__"):
        return

    @wraps(to_yaml)
    def write_after_fingerprints(container: Any, yaml_path: Any = None, *others: Any, **options: Any) -> Any:
        if yaml_path is not None:
            write_fingerprints(Path(yaml_path).parent)
        return to_yaml(container, yaml_path, *others, **options)

    config_class.to_yaml = write_after_fingerprints


def write_fingerprints(folder: Path) -> None:
    """Write the fingerprints of a checkpoint that lacks only its run_config.yaml.

    Nothing is written for a folder that is not one, or where this node does not see all files yet.
    """
    try:
        shards = read_stored_parts(read_bytes(folder / ".metadata"))
    except (FileNotFoundError, ValueError):
        return
    if find_damaged_shard(folder, shards) is not None:
        return
    is_small = sum((folder / name).stat().st_size for name in shards) <= LARGEST_READ_WHOLE
    names = [*shards, *(name for name in _SMALL if (folder / name).is_file())]
    files = dict(zip(names, _fingerprint(folder, names, {} if is_small else shards), strict=True))
    write_json(folder / RECORD, {"whole": is_small, "files": files})


def find_changed_file(folder: Path, shards: StoredParts) -> tuple[str, str] | None:
    """Find the first file of a checkpoint that is not the one that was saved.

    Args:
        folder: The checkpoint, in which no shard is missing.
        shards: Its shards, from `read_stored_parts`.

    Returns:
        The file's name, and what is wrong with it. None if all are as saved, or nothing was recorded.

    Raises:
        FileNotFoundError: The folder is gone.
    """
    try:
        record = json.loads(read_bytes(folder / RECORD))
        are_whole, files = record["whole"], dict(record["files"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return RECORD, "is not readable (without it, nothing is compared)"
    for name in _SMALL:
        if name in files and not (folder / name).exists():
            folder.stat()
            return name, "is missing"
    # `.metadata` first: with another one, other parts of the shards would be compared.
    for names in ([name for name in _SMALL if name in files], [name for name in shards if name in files]):
        found = _fingerprint(folder, names, {} if are_whole else shards)
        for name, fingerprint in zip(names, found, strict=True):
            if fingerprint != files[name]:
                return name, "holds other bytes than were saved"
    return None


def _fingerprint(folder: Path, names: list[str], parts: StoredParts) -> list[dict[str, Any]]:
    """Fingerprint files: whole, or by some of their parts if these are given."""

    def read(name: str) -> dict[str, Any]:
        file = folder / name
        digest = checksum(file) if name not in parts else _read_ends(file, [parts[name][0], parts[name][-1]])
        return {"bytes": file.stat().st_size, "checksum": digest}

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(read, names))


def _read_ends(file: Path, parts: list[tuple[int, int]]) -> str:
    digest = hashlib.sha256()
    with open_file(file) as opened:
        for offset, length in parts:
            opened.seek(offset + max(0, length - _END))
            digest.update(opened.read(min(length, _END)))
    return digest.hexdigest()
