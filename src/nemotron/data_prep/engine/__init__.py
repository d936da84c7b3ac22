"""Run work in parallel. The results do not depend on the engine.

An engine applies a pure function to a list: `local` in processes on this machine, `ray` on a Ray cluster.
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from nemotron.data_prep.engine.interface import Run
from nemotron.data_prep.engine.local import count_cores

if TYPE_CHECKING:
    from nemotron.data_prep.config import EngineName

__all__ = ["Run", "count_cores", "count_useful_workers", "start"]

BYTES_FOR_A_WORKER = 4 * 2**20
"""Bytes of input that justify another worker: in the second that starting takes, one worker reads some megabytes."""


def start(engine: "EngineName", ray_address: str | None = None) -> AbstractContextManager[Run]:
    """Return an engine, for the duration of a `with` block.

    `ray_address` is only for Ray (see `on_ray.cluster`).
    """
    if engine == "ray":
        from nemotron.data_prep.engine import on_ray

        return on_ray.use_cluster(ray_address)
    from nemotron.data_prep.engine import local

    return local.use_processes()


def count_useful_workers(workers: int | None, bytes_to_read: int) -> int:
    """Return how many workers an input justifies, up to `workers` (None: no limit)."""
    most = 1 + bytes_to_read // BYTES_FOR_A_WORKER
    return most if workers is None else min(workers, most)
