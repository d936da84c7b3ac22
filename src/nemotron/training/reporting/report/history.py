"""Keep history.jsonl, which records each start of a run and how it ended.

It has an object per event: `event`, `time` (UTC, ISO 8601), `iteration` (of the newest checkpoint), and for

- `start`: `origins` of the settings that are not the defaults, `data`, `machine` and `notes`;
- `end`: `state`, which is finished, stopped (by a signal or a time limit) or failed, with the `message` of a failure.

If no end follows a start, the run is still working or was killed.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from nemotron.files.regular_files import open_file, read_text
from nemotron.secrets import mask_values

HISTORY = "history.jsonl"
State = Literal["finished", "stopped", "failed"]
_ANY = ""
_FIELDS: dict[str, Any] = {
    "event": str, "time": str, "iteration": int, "state": str, "message": str, "name": str,
    "train_iters": int, "global_batch_size": int, "pack_size": int,
    "data": {"reference": str, "splits": str, "packs": {_ANY: int}},
    "machine": {"gpus": int, "device": str, "describe": str},
    "flops_per_token": float, "adapters_only": bool, "origins": {_ANY: str}, "notes": [str],
}  # fmt: skip
"""Fields of an event and their types. Anything else, from a damaged file, is removed."""


@dataclass
class Session:
    """One session of a run, from a start to its end."""

    stopped: bool = False
    """Whether a signal or a time limit stopped it; set before it ends."""


@contextlib.contextmanager
def record_session(folder: Path, facts: dict[str, Any], count_finished: Callable[[], int]) -> Iterator[Session]:
    """Record the start and the end of the `with` block.

    Args:
        folder: The run's output folder.
        facts: The facts of the start.
        count_finished: Counts the saved iterations.
    """
    session = Session()
    path = folder / HISTORY
    _append(path, {"event": "start", "time": _now(), "iteration": count_finished(), **facts})
    end: dict[str, Any] = {"state": "failed"}
    try:
        yield session
        end = {"state": "stopped" if session.stopped else "finished"}
    except BaseException as error:
        end["message"] = str(error) or type(error).__name__
        raise
    finally:
        _append(path, {"event": "end", "time": _now(), "iteration": count_finished(), **end})


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Read the events of a run, oldest first.

    A run of an earlier release has none. Every event has `event`, `time` and `iteration`, and every field has its type;
    damaged events and fields are omitted.
    """
    try:
        lines = read_text(folder / HISTORY, errors="replace").splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        with contextlib.suppress(ValueError, OverflowError, RecursionError):
            event = {"iteration": 0, **(_keep(json.loads(line), _FIELDS) or {})}
            datetime.fromisoformat(event.get("time", "")).timestamp()
            if event.get("event") == "end" and event.get("state") not in get_args(State):
                event.pop("state", None)
            if event.get("event") in ("start", "end"):
                events.append(event)
    return events


def _keep(value: Any, kind: Any) -> Any:
    """Return the parts of a value that have the right type, or None."""
    if isinstance(kind, dict):
        pairs = value.items() if isinstance(value, dict) else ()
        kept = {name: _keep(inner, kind.get(name, kind.get(_ANY))) for name, inner in pairs}
        return {name: inner for name, inner in kept.items() if inner is not None}
    if isinstance(kind, list):
        return [each for each in value if isinstance(each, kind[0])] if isinstance(value, list) else None
    if kind in (int, float):
        kinds = (int,) if kind is int else (int, float)
        return value if type(value) in kinds and 0 <= value < 2**63 else None
    return value if kind is not None and isinstance(value, kind) else None


def _append(path: Path, event: dict[str, Any]) -> None:
    # A full disk fails the run elsewhere, with a better message.
    with contextlib.suppress(OSError), open_file(path, "a+b", buffering=0) as file:
        # One write per line; it begins a new line in case the last one was cut off.
        size = file.seek(0, os.SEEK_END)
        cut = "\n" if size and os.pread(file.fileno(), 1, size - 1) != b"\n" else ""
        file.write(f"{cut}{json.dumps(mask_values(event))}\n".encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
