"""Tell what a run does while it works: in the terminal, its history and its page."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nemotron.config import Loaded
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.ranks import count_ranks, is_first
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
_DEFAULTS = ("default", "config/default.yaml:")
"""How origins begin that are no change of the user's."""


def report_start(on_record: OnRecord | None, train_iters: int, finished: int, notes: Sequence[str]) -> None:
    """Report what a user should know at the start: through `on_record`, or the output."""
    if on_record is not None:
        on_record("start", {"train_iters": train_iters, "finished": finished, "notes": [*notes]})
    elif is_first():
        for note in notes:
            print(f"note: {note}")


def say(on_record: OnRecord | None, text: str) -> None:
    """Show a line at once: through `on_record`, else in the output."""
    if on_record is not None:
        on_record("line", {"text": text})
    elif is_first():
        print(text, flush=True)


def describe_start(loaded: Loaded[SftConfig], plan: Plan, data: PreparedData, notes: Sequence[str]) -> dict[str, Any]:
    """Collect what a report cannot read off the run's other files, as JSON values.

    Args:
        loaded: The config, with where each value came from.
        plan: What the run will do.
        data: The packs.
        notes: What a user should know of this start, a line each.
    """
    return {
        "name": loaded.name,
        "train_iters": plan.train_iters,
        "global_batch_size": plan.global_batch_size,
        "pack_size": plan.pack_size,
        "data": {"reference": data.reference, "splits": str(data.splits), "packs": data.packs},
        "machine": describe_machine(),
        "flops_per_token": plan.flops_per_token,
        "adapters_only": loaded.config.peft is not None,
        "origins": {key: origin for key, origin in loaded.origins.items() if not origin.startswith(_DEFAULTS)},
        "notes": [*notes],
    }


def describe_machine() -> dict[str, Any]:
    """Describe what this run computes on.

    Under `gpus` (None on a CPU), `device` (its name) and `describe` (both in words).
    """
    import torch

    ranks = count_ranks()
    if not torch.cuda.is_available():
        described = f"{ranks:,} {'process' if ranks == 1 else 'processes'} on the CPU, {socket.gethostname()}"
        return {"gpus": None, "device": "CPU", "describe": described}
    device = torch.cuda.get_device_name()
    return {"gpus": ranks, "device": device, "describe": f"{ranks:,} x {device}, first on {socket.gethostname()}"}


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
