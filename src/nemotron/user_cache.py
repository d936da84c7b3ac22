"""What was found out once and takes long to find out again.

Small JSON files in the user's cache folder.

The folder is $NEMOTRON_CACHE, or `nemotron` below $XDG_CACHE_HOME or ~/.cache. Nothing depends on the files but time:
one that is missing, broken or cannot be written is as good as none.
"""

import contextlib
import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from nemotron.atomic_files import write_json


def recall(kind: str, key: str) -> Any:
    """Return what was remembered under a key, as JSON values; None for nothing."""
    with contextlib.suppress(OSError, RuntimeError, orjson.JSONDecodeError):
        return orjson.loads(_path(kind, key).read_bytes())
    return None


def remember(kind: str, key: str, value: Any) -> None:
    """Remember JSON values under a key.

    The key should name everything that decides them.
    """
    with contextlib.suppress(OSError, RuntimeError, TypeError):
        write_json(_path(kind, key), value)


def version_of(package: str) -> str:
    """Return the version of an installed package as a part of a key."""
    spec = find_spec(package)
    # The name of the metadata's folder has it. importlib.metadata would take 30 ms to say the same.
    folder = Path(spec.origin).parent.parent if spec and spec.origin else None
    found = sorted(path.name for path in folder.glob(f"{package}-*.dist-info")) if folder else []
    if found:
        return found[0]
    from importlib.metadata import version

    return version(package)


def _path(kind: str, key: str) -> Path:
    own, general = os.environ.get("NEMOTRON_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else Path(general or Path.home() / ".cache") / "nemotron"  # no home: RuntimeError
    return folder / kind / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
