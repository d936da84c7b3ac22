"""The interface of an engine: a function that runs work in parallel."""

from collections.abc import Callable, Sequence
from typing import Protocol


def do_nothing() -> None:
    """Do nothing while work is done elsewhere."""


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
        meanwhile: Callable[[], object] = do_nothing,
    ) -> list[Result]:
        """Compute `[work(shared, thing) for thing in things]` in worker processes.

        The first exception ends the run and is raised, after work in progress has completed, so that it need not be
        repeated.

        Args:
            work: A function of a module.
            shared: Sent to every worker process once, and not again if the next work shares the same object. It, the
                things and the results must be picklable.
            workers: Number of workers; None means one per core.
            on_done: Called as `on_done(position, result)` in this process, in the order of completion.
            meanwhile: Called once in this process, while the workers have work if there are several.

        Raises:
            UserError: A worker process died.
        """
        ...
