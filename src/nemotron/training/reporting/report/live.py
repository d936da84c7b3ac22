"""The page of a run, written again and again while it works."""

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
"""Between two pages, when nothing is evaluated or saved."""
LARGEST_SHARE = 0.02
"""Of the time that a run may spend on its page, where writing it takes longer than `QUICK_SECONDS`."""
QUICK_SECONDS = 1.0


def keep_report(folder: Path, save_interval: int | None, on_record: OnRecord | None) -> OnRecord:
    """Return a callback for each record that keeps report.html current.

    It calls `on_record`, too. The page is written after the first record, an evaluation, an iteration that is saved,
    and every 30 seconds; a page that takes more than a second, as of a million iterations, less often. On the rank that
    writes records.

    Args:
        folder: The run's output folder.
        save_interval: Iterations between two checkpoints.
        on_record: Progress.
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
    """Record the start and the end of what runs inside, and write its page.

    The page is written however it ends.

    Args:
        folder: The run's output folder.
        facts: Of the start.
        count_finished: Counts the iterations that are saved.
        is_writer: One process of the run writes.
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
    """The page, and how long it takes to write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run: RunFiles | None = None
        self._written = -float("inf")
        self._took = 0.0
        self._is_told = False

    def write(self, *, is_news: bool) -> None:
        """Write the page if it is time to."""
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
