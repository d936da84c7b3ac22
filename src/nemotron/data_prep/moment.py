"""Choose the time that a chat template sees: one moment per run.

It is the same in every worker and after a resume. Llama 3.1's template, for example, shows the date. The first run with
given inputs and settings sets the moment and records it in plan.json; the same command finds it there later, and so
finds its run.
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import orjson

from nemotron.files.regular_files import read_bytes

TIMELESS = datetime(1970, 1, 1)
"""A fixed moment, with which runs that differ only in their moment have the same hash."""


def find_moment(output_dir: Path, timeless_hash: str) -> datetime | None:
    """Find the moment of the newest earlier run.

    Args:
        output_dir: Where runs are written.
        timeless_hash: The run hash with the template rendered at TIMELESS.
    """
    return max(_find_moments(output_dir, timeless_hash), default=None)


def _find_moments(output_dir: Path, timeless_hash: str) -> Iterator[datetime]:
    for path in (output_dir / "runs").glob("*/plan.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # incomplete, or in another format
            recorded = orjson.loads(read_bytes(path))["chat_template"]
            if recorded["timeless_hash"] == timeless_hash:
                yield datetime.fromisoformat(recorded["moment"])
