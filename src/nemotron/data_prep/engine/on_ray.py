"""Run work on a Ray cluster: a running one, or one started on this machine.

Every node must have the packages that data prep needs, and see the inputs and the output folder under the same paths.
The code of this package is sent to the nodes, so that all of them run the same code as this process.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import nemotron
from nemotron.data_prep.engine.interface import do_nothing
from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.data_prep.engine.interface import Run

ATTEMPTS = 3
"""How often work is attempted if its worker process or its node is lost."""
OBJECT_STORE_BYTES = 256 * 2**20
"""For a cluster started here. Only settings and receipts pass through the object store, never tokens."""
QUEUED_PER_CORE = 2
"""Tasks queued per core, so that no core waits for this process."""


@contextlib.contextmanager
def use_cluster(address: str | None = None) -> "Iterator[Run]":
    """Run work on Ray, for the duration of a `with` block.

    The first work opens the connection. A process that is already connected to a cluster uses it, and stays connected.
    The run raises UserError if Ray is not installed or the cluster cannot be reached.

    Args:
        address: `host:port` of a running cluster's head, or `auto` for the one on this machine. None means the cluster
            that RAY_ADDRESS names, else a new one on this machine.
    """
    connection = _Connection(address or os.environ.get("RAY_ADDRESS") or None)
    try:
        yield connection.run
    finally:
        connection.close()


class _Connection:
    """Ray, connected on first use."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._ray: Any = None
        self._is_ours = False

    def close(self) -> None:
        if self._is_ours:
            self._ray.shutdown()

    def run[Shared, Thing, Result](
        self,
        work: Callable[[Shared, Thing], Result],
        shared: Shared,
        things: Sequence[Thing],
        *,
        workers: int | None,
        on_done: Callable[[int, Result], None],
        meanwhile: Callable[[], object] = do_nothing,
    ) -> list[Result]:
        """Run work as `engine.Run` says."""
        meanwhile()
        if not things:
            return []
        ray = self._connect_once()
        do = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_do)
        key, stored = uuid4().hex, ray.put(shared)
        results: dict[int, Result] = {}
        pending: dict[Any, int] = {}
        left = iter(enumerate(things))
        try:
            while True:
                most = workers or QUEUED_PER_CORE * _cores(ray)
                while len(pending) < most and (following := next(left, None)) is not None:
                    position, thing = following
                    # In a list, so that each worker fetches it once; Ray would fetch a bare reference for every task.
                    pending[do.remote(work, key, [stored], thing)] = position
                if not pending:
                    return [results[position] for position in range(len(things))]
                for done in ray.wait(list(pending))[0]:
                    position = pending.pop(done)
                    results[position] = ray.get(done)
                    on_done(position, results[position])
        except ray.exceptions.RayTaskError as error:
            if pending:
                ray.wait(list(pending), num_returns=len(pending))
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise _explain_loss(error) from None

    def _connect_once(self) -> Any:
        if self._ray is None:
            self._ray = _ray()
            if not self._ray.is_initialized():
                _connect(self._ray, self._address)
                self._is_ours = True
        return self._ray


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UserError(
            "engine is ray, but Ray is not installed.", "Install it with uv sync --extra ray, or use engine=local."
        ) from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES, "address": "local"}
    else:
        package = str(Path(nemotron.__file__).resolve().parent)
        options |= {"address": address, "runtime_env": {"py_modules": [package]}}
    try:
        ray.init(**options)
    except Exception as error:  # Ray also raises plain exceptions, for example if a node is slow to start
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        raise UserError(
            f"Cannot work with {where}: {str(error).strip().splitlines()[0].rstrip('.')}.",
            "Check ray_address (or RAY_ADDRESS) with: ray status --address HOST:PORT"
            if address
            else "Check Ray's logs in /tmp/ray/session_latest/logs, or use engine=local.",
        ) from None


def _cores(ray: Any) -> int:
    """Return the current number of cores of the cluster, which may change."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _explain_loss(error: Exception) -> UserError:
    return UserError(
        f"The Ray cluster lost a worker or a node more than {ATTEMPTS - 1} times: {type(error).__name__}.",
        "Most likely memory ran out. Run again with fewer workers (workers=1); finished work is kept.",
    )


_shared: dict[str, Any] = {}
"""In a worker process: the shared value of the current run, by the run's key."""


def _do(work: Callable[[Any, Any], Any], key: str, stored: list[Any], thing: Any) -> Any:
    """Process one item in a worker process."""
    if key not in _shared:
        import ray

        _shared.clear()
        _shared[key] = ray.get(stored[0])
    return work(_shared[key], thing)
