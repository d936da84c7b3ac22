"""Say at once that work is stopping, on Ctrl-C and on SIGTERM."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nemotron.cli import console
from nemotron.exit_codes import TERMINATED


@contextmanager
def stops_at_once(*, continues: bool = True) -> Iterator[None]:
    """Announce Ctrl-C and SIGTERM at once, and stop.

    SIGTERM has exit code 143. Stopping takes a moment, in which temporary files are removed; a second Ctrl-C does not
    wait.

    Args:
        continues: Whether the same command continues the work, as the line after SIGTERM says.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if os.getpid() == process:  # a terminal sends it to forked workers, too
            _announce("Ctrl-C: stopping ...")
        raise KeyboardInterrupt

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        if os.getpid() == process:
            _announce("SIGTERM: stopping ...")
        raise SystemExit(TERMINATED)

    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except SystemExit as end:
        if end.code == TERMINATED:
            console.note(f"Terminated.{' The same command continues where this one stopped.' if continues else ''}")
        raise
    finally:
        for signum, handler in before.items():
            if handler is not None:  # None: a handler that was not set from Python
                signal.signal(signum, handler)


def _announce(text: str) -> None:
    """Write a line from a signal handler, maybe in the middle of another line."""
    os.write(2, f"\n{text}\n".encode())
