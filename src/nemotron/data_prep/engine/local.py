"""Run work in processes on this machine."""

import contextlib
import ctypes
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from nemotron.data_prep.engine.interface import do_nothing
from nemotron.errors import UserError
from nemotron.files.paths import keep_sockets_short

if TYPE_CHECKING:
    from nemotron.data_prep.engine.interface import Run

# Not fork: this process has threads (progress display, Arrow), and a forked child could inherit their locks locked.
_CONTEXT = multiprocessing.get_context("forkserver")


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def use_processes() -> "Iterator[Run]":
    """Run work in processes on this machine, for the duration of a `with` block."""
    keep_sockets_short()
    workers = _Workers()
    try:
        yield workers.run
    finally:
        workers.end()


def get_ready(modules: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start the process that workers are forked from.

    It imports `modules` in the background, so that workers have them from the start. There is one for the lifetime of
    this process, with `environment` added to its variables.
    """
    keep_sockets_short()
    _CONTEXT.set_forkserver_preload(list(modules))
    multiprocessing.resource_tracker.ensure_running()  # here, because it unblocks Ctrl-C
    with _set(environment), _block_ctrl_c():
        multiprocessing.forkserver.ensure_running()


@contextlib.contextmanager
def _block_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C from a process that is started in the `with` block.

    A terminal sends it to all processes; this one handles it when the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a process that is started in the `with` block."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _KeepsProcesses:
    """A context of multiprocessing that keeps what it starts, also what has ended."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(_CONTEXT, name)

    def Process(self, *arguments: Any, **options: Any) -> Any:
        self.started.append(_CONTEXT.Process(*arguments, **options))
        return self.started[-1]


class _Workers:
    """Worker processes.

    They start with the first work, and are kept for further work with as many workers.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._context = _KeepsProcesses()
        self._size = 0
        self._sent: _Written | None = None

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
        """Run work as `engine.Run` says; a single worker is this process itself."""
        size = workers or count_cores()
        if min(size, len(things)) <= 1:
            meanwhile()
            results = []
            for position, thing in enumerate(things):
                results.append(work(shared, thing))
                on_done(position, results[-1])
            return results
        try:
            pool = self._of_size(size)
            sent = self._send(shared)
            futures = {pool.submit(_do, sent, work, thing): position for position, thing in enumerate(things)}
            meanwhile()
            for future in as_completed(futures):
                on_done(futures[future], future.result())
            return [future.result() for future in futures]
        except BaseException as error:
            started = self._context.started
            self.end()  # work in progress completes; queued work is discarded
            if not isinstance(error, BrokenProcessPool):
                raise
            raise _explain_loss([process.exitcode or 0 for process in started]) from None

    def _of_size(self, size: int) -> ProcessPoolExecutor:
        if self._pool is None or self._size != size:
            self.end()
            self._context, self._size = _KeepsProcesses(), size
            context: Any = self._context
            self._pool = ProcessPoolExecutor(size, mp_context=context, initializer=_start_worker)
        return self._pool

    def end(self) -> None:
        """End the processes; new ones can be started afterwards."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        if self._sent is not None:
            self._sent.file.close()
            self._sent = None

    def _send(self, shared: object) -> "_Sent":
        """Write `shared` to a file that workers read once.

        That is done already if the work before shared it. A vocabulary has ten megabytes, too much to send with every
        item.
        """
        if self._sent is None or self._sent.value is not shared:
            content = pickle.dumps(shared, pickle.HIGHEST_PROTOCOL)
            if self._sent is not None:
                self._sent.file.close()
            self._sent = _Written(shared, _write(content))
        return _Sent(f"/proc/{os.getpid()}/fd/{self._sent.file.fileno()}", self._sent.number)


def _explain_loss(exit_codes: Sequence[int]) -> UserError:
    """Explain why workers were lost, by how they ended; below 0 it was by a signal."""
    if -signal.SIGVTALRM in exit_codes:
        return UserError(
            "The chat template works on one conversation without an end, and cannot be interrupted.",
            "Use another template; finished work is kept.",
        )
    if any(code > 0 for code in exit_codes):
        return UserError(
            f"A worker process ended with exit code {max(exit_codes)}; its error is shown above.",
            'If a script of your own calls prepare(), call it below `if __name__ == "__main__":`; workers import it.',
        )
    return UserError(
        "A worker process died, most likely because the machine ran out of memory.",
        "Run again with fewer workers (workers=1); finished work is kept.",
    )


def _write(content: bytes) -> IO[bytes]:
    """Return a nameless file that disappears when this process ends."""
    try:
        # Unbuffered, so that closing the file does not repeat a failed write.
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
            stack.pop_all()
            return file
    except OSError as error:
        raise UserError(
            f"Cannot write a temporary file: {error.strerror or error}.",
            "Free some space, or set TMPDIR to a folder with space.",
        ) from error


class _Written:
    """What was sent to the workers last."""

    def __init__(self, value: object, file: IO[bytes]) -> None:
        self.value, self.file, self.number = value, file, next(_numbers)


class _Sent(NamedTuple):
    path: str
    number: int
    """Different for every value, unlike the path, which may be reused."""


_numbers = itertools.count()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose parent was killed.

    Otherwise it would wait forever, because nobody closes its queue.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


_sent_last: _Sent | None = None
_shared: Any
"""In a worker: the shared value that was sent last."""


def _do(sent: _Sent, work: Callable[[Any, Any], Any], thing: Any) -> Any:
    global _sent_last, _shared
    if sent != _sent_last:
        _shared = None
        _return_free_memory()  # what the work before took is often more than the next needs
        with open(sent.path, "rb") as file:
            _shared = pickle.load(file)
        _sent_last = sent
    return work(_shared, thing)


def _return_free_memory() -> None:
    """Give memory that was freed back to the system, where the C library can (glibc)."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
