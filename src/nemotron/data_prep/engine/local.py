"""Worker processes on this machine."""

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.data_prep.engine import Run


def default_workers() -> int:
    """One per core this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def processes(preload: Sequence[str] = ()) -> "Iterator[Run]":
    """Run work in processes of this machine; each run starts its own and ends them.

    `preload` names modules with work. Given some, the process that all workers are forked from starts now and imports
    them while this process does something else.
    """
    if preload:
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload))
        multiprocessing.forkserver.ensure_running()
    yield run


def run[Shared, Thing, Result](
    work: Callable[[Shared, Thing], Result],
    shared: Shared,
    things: Sequence[Thing],
    *,
    workers: int | None,
    on_done: Callable[[int, Result], None],
) -> list[Result]:
    """See `engine.Run`. One worker is this process itself."""
    workers = min(workers or default_workers(), len(things))
    if workers <= 1:
        results = []
        for position, thing in enumerate(things):
            results.append(work(shared, thing))
            on_done(position, results[-1])
        return results
    # Not fork: the parent runs threads (progress display, Arrow), whose locks a forked child would inherit held.
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(work, shared))
    try:
        futures = {pool.submit(_do, thing): position for position, thing in enumerate(things)}
        for future in as_completed(futures):
            on_done(futures[future], future.result())
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise UserError(
            "A worker process died; most likely the machine ran out of memory.",
            "Run again with fewer workers (workers=1): finished work is kept.",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: Callable[[Any, Any], Any]
_shared: Any


def _start_worker(work: Callable[[Any, Any], Any], shared: Any) -> None:
    """Keep what this worker process needs for all its work."""
    global _work, _shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work, _shared = work, shared


def _end_with_parent() -> None:
    """A killed parent closes no queue: without this its workers would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _do(thing: Any) -> Any:
    return _work(_shared, thing)
