"""Print: results to stdout; errors, notes and progress to stderr.

Everything printed goes through `printable`, as it may hold text out of data and file names.
"""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from nemotron.errors import UserError
from nemotron.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
"""How often progress is a line when stderr is not a terminal."""


def error(problem: UserError) -> None:
    """Print `error: what is wrong` and `hint: what to do`."""
    typer.echo(f"{typer.style('error:', fg='red', bold=True)} {printable(problem.message)}", err=True)
    if problem.hint:
        typer.echo(f"{typer.style('hint:', fg='cyan', bold=True)} {printable(problem.hint)}", err=True)


def note(text: str) -> None:
    """Print a line next to the results, on stderr."""
    typer.echo(printable(text), err=True)


def out(text: str = "", **style: Any) -> None:
    """Print a line of the results; `style` as typer.style takes it."""
    text = printable(text)
    typer.echo(typer.style(text, **style) if style else text)


def heading(text: str) -> None:
    """Print a line that begins a part of the results."""
    typer.echo(f"\n{typer.style(printable(text), bold=True)}")


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] | None = None, right: Sequence[int] = ()) -> None:
    """Print aligned columns, two spaces in; lines are never cut or wrapped.

    Args:
        rows: Cells of each line.
        header: Titles of the columns.
        right: Columns of numbers, aligned to the right.
    """
    body = [[printable(str(cell), one_line=True) for cell in row] for row in rows]
    lines = [list(header), *body] if header else body
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    for index, line in enumerate(lines):
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text = "  " + "  ".join(cells).rstrip()
        typer.echo(typer.style(text, dim=True) if header and index == 0 else text)


class Progress:
    """Progress on stderr: bars on a terminal, else lines. A context manager."""

    def __init__(self) -> None:
        # Bound now: training redirects sys.stderr to its log while it runs.
        self._stream = sys.stderr
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}
        self._paces: dict[str, _Pace] = {}
        self._last_update = 0.0

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[amount]}"),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=Console(file=self._stream),
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def update(
        self, label: str, done: int, total: int, unit: str, note: str = "", made: Mapping[str, int] | None = None
    ) -> None:
        """Show that `done` of `total` are finished.

        Args:
            label: What is worked on.
            done: How much is finished.
            total: How much there is.
            unit: Of both.
            note: Anything worth showing next to it.
            made: Counts of what came of it, for rates: `{"rows": 1200}`.
        """
        now = time.monotonic()
        # Labels announced together begin one after the other: the next one when the one before last moved.
        pace = self._paces.setdefault(label, _Pace(done))
        if pace.began is None and done > pace.done_before:
            pace.began = self._last_update
        self._last_update = now
        amount, shown = _amount(done, total, unit), printable(label, one_line=True)
        note = ", ".join(filter(None, [pace.rates(now, made or {}), note]))
        if self._bars is not None:
            if label not in self._tasks:
                self._tasks[label] = self._bars.add_task(shown, total=total, amount="", note="")
            self._bars.update(self._tasks[label], completed=done, total=total, amount=amount, note=note)
            return
        if done >= total or now - self._last_line.setdefault(label, now) >= SECONDS_BETWEEN_LINES:
            self._last_line[label] = now
            self.line(f"{shown}: {', '.join(filter(None, [amount, note, pace.time_left(now, done, total)]))}")

    def line(self, text: str) -> None:
        """Print a line that stays, above the bars."""
        text = printable(text)
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._stream, flush=True)


def _amount(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
    return f"{done:,} of {total:,} {unit}"


@dataclass
class _Pace:
    """How fast the work of one label goes."""

    done_before: int
    """Finished when the label first appeared: earlier runs' work, which says nothing about this one's pace."""
    began: float | None = None

    def rates(self, now: float, made: Mapping[str, int]) -> str:
        """Format rates: `1,234 rows/s, 1.2M tokens/s`."""
        if self.began is None or now <= self.began:
            return ""
        return ", ".join(f"{_short(count / (now - self.began))} {name}/s" for name, count in made.items())

    def time_left(self, now: float, done: int, total: int) -> str:
        """Format the time left: `2:05 left`, or how long it took."""
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
