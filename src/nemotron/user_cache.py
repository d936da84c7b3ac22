"""Remember results that take long to work out, as small JSON files.

The folder is $NEMOTRON_CACHE, or `nemotron` below $XDG_CACHE_HOME or ~/.cache. The files only save time: one that is
missing, damaged or not writable is ignored. Each has the checksum of its value, because a damaged value that still
looks like one would be believed.
"""

import contextlib
import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from nemotron.files.atomic_files import write_json
from nemotron.files.regular_files import read_bytes


def recall(kind: str, key: str) -> Any:
    """Return the JSON value remembered under a key, or None."""
    with contextlib.suppress(OSError, RuntimeError, ValueError, TypeError, KeyError):
        record = orjson.loads(read_bytes(_path(kind, key)))
        if record["sha256"] == _checksum(key, record["value"]):
            return record["value"]
    return None


def remember(kind: str, key: str, value: Any) -> None:
    """Remember a JSON value under a key.

    The key must include everything that the value depends on.
    """
    with contextlib.suppress(OSError, RuntimeError, TypeError):
        record = {"sha256": _checksum(key, value), "value": value}
        write_json(_path(kind, key), record)


def version_of(package: str) -> str:
    """Return the version of an installed package, for use in a key."""
    spec = find_spec(package)
    # The name of the metadata folder contains it. importlib.metadata would take 30 ms.
    folder = Path(spec.origin).parent.parent if spec and spec.origin else None
    found = sorted(path.name for path in folder.glob(f"{package}-*.dist-info")) if folder else []
    if found:
        return found[0]
    from importlib.metadata import version

    return version(package)


def _checksum(key: str, value: Any) -> str:
    """Return the checksum of a value under its key, as JSON.

    A tuple and a list are the same there.
    """
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return hashlib.sha256(key.encode() + b"\0" + orjson.dumps(value, option=options, default=str)).hexdigest()


def _path(kind: str, key: str) -> Path:
    own, general = os.environ.get("NEMOTRON_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else Path(general or Path.home() / ".cache") / "nemotron"  # no home: RuntimeError
    return folder / kind / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
