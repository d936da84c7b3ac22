"""Who does the work. What is done, and what comes out, does not depend on it.

An engine applies a pure function to a list of things: `local` in processes of this machine, `ray` on a Ray cluster.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from nemotron.data_prep.config import EngineName
from nemotron.data_prep.engine.local import default_workers

__all__ = ["Run", "default_workers", "start", "worthwhile"]

BYTES_FOR_A_WORKER = 4 * 2**20
"""Input that is worth another worker: starting them takes about a second, in which one reads some megabytes."""


class Run(Protocol):
    """What an engine does, in whatever order suits it."""

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

        The first exception ends the run and is raised. Work in progress completes before, so that it need not be done
        again.

        Args:
            work: a module's function.
            shared: what every worker process gets once. It, the things and the results can be pickled.
            workers: how many work at the same time; None for as many as there are cores.
            on_done: called as `on_done(position, result)` in this process, in the order in which they finish.

        Raises:
            UserError: a worker process died.
        """
        ...


def start(engine: EngineName, ray_address: str | None = None) -> AbstractContextManager[Run]:
    """Return an engine, for the length of a `with` block.

    `ray_address` is for Ray alone (see `on_ray.cluster`).
    """
    if engine == "ray":
        from nemotron.data_prep.engine import on_ray

        return on_ray.cluster(ray_address)
    from nemotron.data_prep.engine import local

    return local.processes()


def worthwhile(workers: int | None, bytes_to_read: int) -> int:
    """How many of at most `workers` (None: of any number) so much input is worth."""
    most = 1 + bytes_to_read // BYTES_FOR_A_WORKER
    return most if workers is None else min(workers, most)
