"""Fingerprint the files of a checkpoint when it is saved, and compare them later.

Sizes and torch's own checksums do not tell a shard from that of another iteration. Small checkpoints are read whole. Of
larger ones, only the ends of parts are read, where torch's zip archives keep the checksums of their tensors
(verified_parts.py compares those with the tensors when they are loaded).
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
MOST_PARTS = 20_000
"""The most parts of a larger checkpoint that are read: those of a small cluster's, and a sample of a large one's."""
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
    parts_per_shard = None if is_small else max(2, MOST_PARTS // len(shards))
    names = [*shards, *(name for name in _SMALL if (folder / name).is_file())]
    files = dict(zip(names, _fingerprint(folder, names, shards, parts_per_shard), strict=True))
    write_json(folder / RECORD, {"parts_per_shard": parts_per_shard, "files": files})


def find_changed_file(folder: Path, shards: StoredParts) -> str | None:
    """Find the first file of a checkpoint that is not the one that was saved.

    Args:
        folder: The checkpoint, in which no file is missing.
        shards: Its shards, from `read_stored_parts`.

    Returns:
        The file's name. None if all are as saved, or nothing was recorded.
    """
    try:
        record = json.loads(read_bytes(folder / RECORD))
        parts_per_shard, files = record["parts_per_shard"], dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (parts_per_shard is None or isinstance(parts_per_shard, int)):
        return None
    # `.metadata` first: with another one, other parts of the shards would be compared.
    for names in ([name for name in _SMALL if name in files], [name for name in shards if name in files]):
        found = _fingerprint(folder, names, shards, parts_per_shard)
        for name, fingerprint in zip(names, found, strict=True):
            if fingerprint != files[name]:
                return name
    return None


def _fingerprint(
    folder: Path, names: list[str], shards: StoredParts, parts_per_shard: int | None
) -> list[dict[str, Any]]:
    def read(name: str) -> dict[str, Any]:
        file, parts = folder / name, shards.get(name)
        if parts is None or parts_per_shard is None:
            digest = checksum(file)
        else:
            digest = _read_ends(file, _spread(parts, parts_per_shard))
        return {"bytes": file.stat().st_size, "checksum": digest}

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(read, names))


def _spread(parts: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Choose at most `most` parts at equal distances, with the first and the last."""
    if len(parts) <= most:
        return parts
    return [parts[round(n * (len(parts) - 1) / (most - 1))] for n in range(most)]


def _read_ends(file: Path, parts: list[tuple[int, int]]) -> str:
    digest = hashlib.sha256()
    with open_file(file) as opened:
        for offset, length in parts:
            opened.seek(offset + max(0, length - _END))
            digest.update(opened.read(min(length, _END)))
    return digest.hexdigest()
