"""Show progress: bars on a terminal, else an occasional line."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from nemotron.cli.console import screen
from nemotron.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
"""How often to print a line when stderr is not a terminal."""
_WIDE = 100
"""A narrower terminal gets short bars, and only the last of several rates."""
_MANY = 8
"""With more bars than this, those that have not begun or are done are hidden."""


class Progress:
    """Progress on stderr: bars on a terminal, else lines. A context manager."""

    def __init__(self) -> None:
        # Kept from the start, because training redirects sys.stderr to its log while it runs.
        self._stream = sys.stderr
        self._bars: Bars | None = None
        self._width = _WIDE
        self._tasks: dict[str, TaskID] = {}
        self._waiting: TaskID | None = None
        self._last_line: dict[str, float] = {}
        self._paces: dict[str, _Pace] = {}
        self._last_update = 0.0

    def __enter__(self) -> Self:
        # A dumb terminal cannot redraw a bar, but it can show lines.
        if (width := screen.width_of(self._stream)) and os.environ.get("TERM") != "dumb":
            self._width = width
            self._bars = _make_bars(self._stream, width)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._stop_waiting()
            self._bars.stop()

    def update(
        self, label: str, done: int, total: int, unit: str, note: str = "", made: Mapping[str, int] | None = None
    ) -> None:
        """Show that `done` of `total` are finished.

        Args:
            label: The name of the work.
            done: How much is finished.
            total: How much there is.
            unit: The unit of both.
            note: Text to show next to the numbers.
            made: Counts of the results so far, for rates: `{"rows": 1200}`.
        """
        now = time.monotonic()
        # Labels announced together begin one after the other: each begins at the last update of the previous one.
        pace = self._paces.setdefault(label, _Pace(done))
        if pace.began is None and done > pace.done_before:
            pace.began = self._last_update
        self._last_update = now
        amount, shown = _amount(done, total, unit), printable(label, one_line=True)
        made = dict(list((made or {}).items())[0 if self._width >= _WIDE else -1 :])
        note = ", ".join(filter(None, [pace.rates(now, made), note]))
        if self._bars is not None:
            self._stop_waiting()
            if label not in self._tasks:
                self._tasks[label] = self._bars.add_task(shown, total=total, amount="", note="")
            self._bars.update(self._tasks[label], completed=done, total=total, amount=amount, note=note)
            self._leave_out_bars(self._bars)
            return
        if done >= total or now - self._last_line.setdefault(label, now) >= SECONDS_BETWEEN_LINES:
            self._last_line[label] = now
            self.line(f"{shown}: {', '.join(filter(None, [amount, note, pace.time_left(now, done, total)]))}")

    def wait_for(self, doing: str) -> None:
        """Show work of unknown length until the next update, on a terminal only.

        Elsewhere it would be a line without information.
        """
        if self._bars is not None:
            self._stop_waiting()
            shown = printable(doing, one_line=True)
            self._waiting = self._bars.add_task(shown, total=None, amount="", note="")

    def _stop_waiting(self) -> None:
        if self._bars is not None and self._waiting is not None:
            self._bars.remove_task(self._waiting)
            self._waiting = None

    def _leave_out_bars(self, bars: "Bars") -> None:
        """Hide bars that do not move when there are many."""
        if len(self._tasks) > _MANY:
            for task in bars.tasks:
                bars.update(task.id, visible=0 < task.completed < (task.total or 0))

    def line(self, text: str) -> None:
        """Print a permanent line above the bars."""
        text = printable(text)
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._stream, flush=True)


@contextmanager
def show_work(doing: str) -> Iterator[Progress]:
    """Show on a terminal that work of unknown length is running in the `with` block."""
    with Progress() as progress:
        progress.wait_for(doing)
        yield progress


def _make_bars(stream: TextIO, width: int) -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.table import Column
    from rich.text import Text

    class Clock(ProgressColumn):
        """Shows the time left, or the time since the work began."""

        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            if task.finished_time is not None:
                return Text(_clock(task.finished_time), "cyan")
            if task.time_remaining is not None:
                return Text(f"{_clock(task.time_remaining)} left", "cyan")
            return Text("" if task.elapsed is None else _clock(task.elapsed), "cyan")

    is_wide = width >= _WIDE
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=40 if is_wide else 26)),
        BarColumn(bar_width=30 if is_wide else 8),
        TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
        Clock(table_column=Column(no_wrap=True, min_width=8)),
        console=Console(file=stream, force_terminal=True),
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _amount(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        one, unit = (10**6, "MB") if total >= 10**6 else (10**3, "kB")
        return f"{done / one:,.1f} of {total / one:,.1f} {unit}"
    return f"{done:,} of {total:,} {unit}"


@dataclass
class _Pace:
    """How fast the work of one label progresses."""

    done_before: int
    """Finished when the label first appeared, by earlier runs; it does not count for the pace of this one."""
    began: float | None = None

    def rates(self, now: float, made: Mapping[str, int]) -> str:
        """Format rates: `1,234 rows/s, 1.2M tokens/s`."""
        if self.began is None or now <= self.began:
            return ""
        return ", ".join(f"{_short(count / (now - self.began))} {name}/s" for name, count in made.items())

    def time_left(self, now: float, done: int, total: int) -> str:
        """Format the time left, `2:05 left`, or the time taken."""
        if self.began is None:
            return ""
        spent = now - self.began
        if done >= total:
            return f"took {_clock(spent)}"
        return f"{_clock(spent * (total - done) / (done - self.done_before))} left"


def _short(number: float) -> str:
    """Format a rate with three digits: 1,234 or 56.7k or 8.9M."""
    if number >= 1e6:
        return f"{number / 1e6:.1f}M"
    return f"{number / 1e3:.1f}k" if number >= 1e4 else f"{number:,.0f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
