"""Run work in parallel. The results do not depend on the engine.

An engine applies a pure function to a list: `local` in processes on this machine, `ray` on a Ray cluster.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from nemotron.data_prep.config import EngineName
from nemotron.data_prep.engine.local import count_cores

__all__ = ["Run", "count_cores", "count_useful_workers", "start"]

BYTES_FOR_A_WORKER = 4 * 2**20
"""Bytes of input that justify another worker: in the second that starting takes, one worker reads some megabytes."""


class Run(Protocol):
    """The function that runs work, in any order."""

    def __call__[Shared, Thing, Result](
        self,
        work: Callable[[Shared, Thing], Result],
        shared: Shared,
        things: Sequence[Thing],
        *,
        workers: int | None,
        on_done: Callable[[int, Result], None],
    ) -> list[Result]:
        """Compute `[work(shared, thing) for thing in things]` in worker processes.

        The first exception ends the run and is raised, after work in progress has completed, so that it need not be
        repeated.

        Args:
            work: A function of a module.
            shared: Sent to every worker process once. It, the things and the results must be picklable.
            workers: Number of workers; None means one per core.
            on_done: Called as `on_done(position, result)` in this process, in the order of completion.

        Raises:
            UserError: A worker process died.
        """
        ...


def start(engine: EngineName, ray_address: str | None = None) -> AbstractContextManager[Run]:
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
