"""Rewrite the page of a run while it works."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nemotron.training.reporting.report.history import Session, record_session
from nemotron.training.reporting.report.page import write_report
from nemotron.training.reporting.report.run_files import RunFiles

OnRecord = Callable[[str, dict[str, Any]], None]
"""Called as `on_record("start", {"train_iters": n, "finished": k, "notes": [line, ...]})` once, then with each record
of metrics.jsonl ("train"), validation.jsonl ("valid") and test.jsonl ("test"). On every rank also as
`on_record("line", {"text": line})`, for a line to be shown at once: a step of the start, a signal."""

EVERY_SECONDS = 30.0
"""Time between two pages if nothing is evaluated or saved."""
LARGEST_SHARE = 0.02
"""Share of its time that a run may spend on its page, if writing it takes longer than `QUICK_SECONDS`."""
QUICK_SECONDS = 1.0


def keep_report(folder: Path, save_interval: int | None, on_record: OnRecord | None) -> OnRecord:
    """Return a callback for each record that keeps report.html current.

    It also calls `on_record`. The page is written after the first record, each evaluation and each saved iteration, and
    every 30 seconds. A page that takes more than a second, for about a million iterations, is written less often. Only
    the rank that writes records uses it.

    Args:
        folder: The run's output folder.
        save_interval: Iterations between two checkpoints.
        on_record: Shows progress.
    """
    page = _Page(folder)

    def on_record_and_page(kind: str, record: dict[str, Any]) -> None:
        if on_record is not None:
            on_record(kind, record)
        is_saved = kind == "train" and bool(save_interval) and record["iteration"] % (save_interval or 1) == 0
        page.write(is_news=kind != "train" or is_saved)

    return on_record_and_page


@contextlib.contextmanager
def report_session(
    folder: Path, facts: dict[str, Any], count_finished: Callable[[], int], *, is_writer: bool
) -> Iterator[Session]:
    """Record the start and the end of the `with` block, and write the page.

    The page is also written if the block fails.

    Args:
        folder: The run's output folder.
        facts: The facts of the start.
        count_finished: Counts the saved iterations.
        is_writer: Whether this is the process of the run that writes.
    """
    if not is_writer:
        yield Session()
        return
    try:
        with record_session(folder, facts, count_finished) as session:
            yield session
    finally:
        _Page(folder).write(is_news=True)


class _Page:
    """Writes the page, and measures how long that takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run: RunFiles | None = None
        self._written = -float("inf")
        self._took = 0.0
        self._is_told = False

    def write(self, *, is_news: bool) -> None:
        """Write the page if it is due."""
        wait = max(0.0 if is_news else EVERY_SECONDS, self._took / LARGEST_SHARE if self._took > QUICK_SECONDS else 0.0)
        started = time.monotonic()
        if started - self._written < wait:
            return
        try:
            if self._run is None:
                self._run = RunFiles(self._folder, is_live=True)
            else:
                self._run.update()
            write_report(self._run)
        except Exception as error:  # whatever is wrong with a page, training goes on
            if not self._is_told:
                print(f"note: report.html could not be written: {type(error).__name__}: {error}")
            self._is_told = True
        self._written = time.monotonic()
        self._took = self._written - started
