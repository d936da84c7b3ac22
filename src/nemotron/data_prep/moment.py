"""What time it is for a chat template.

One moment for a run, the same in every worker and after resuming.

Llama 3.1's template, for one, shows the date. The first run with some inputs and settings decides the moment, and
records it in its plan.json; the same command later finds it there, and so finds its run.
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import orjson

TIMELESS = datetime(1970, 1, 1)
"""Of which runs that differ in their moment alone have one hash."""


def find_moment(output_dir: Path, timeless_hash: str) -> datetime | None:
    """Find the moment of an earlier run, the newest of several.

    Args:
        output_dir: Where runs are written.
        timeless_hash: The run hash, had the template been rendered at TIMELESS.
    """
    return max(_moments(output_dir, timeless_hash), default=None)


def _moments(output_dir: Path, timeless_hash: str) -> Iterator[datetime]:
    for path in (output_dir / "runs").glob("*/plan.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # half written, or of another format
            recorded = orjson.loads(path.read_bytes())["chat_template"]
            if recorded["timeless_hash"] == timeless_hash:
                yield datetime.fromisoformat(recorded["moment"])
