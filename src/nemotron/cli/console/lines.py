"""Print lines: errors and notes on stderr, results on stdout."""

import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import typer

from nemotron.cli.console import screen
from nemotron.cli.console.wrap import fold, wrap
from nemotron.errors import UserError
from nemotron.printable import printable

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def error(problem: UserError) -> None:
    """Print `error: what is wrong` and `hint: what to do`."""
    _print_labelled("error", "red", problem.message)
    if problem.hint:
        _print_labelled("hint", "cyan", problem.hint)


def note(text: str) -> None:
    """Print a line on stderr, apart from the results."""
    _print_prose(sys.stderr, printable(text))


def out(text: str = "", **style: Any) -> None:
    """Print a sentence of the results; `style` as typer.style takes it."""
    _print_prose(screen.results(), printable(text), **style)


def raw(text: str, *, newline: bool = True) -> None:
    """Print JSON or a script as part of the results, without wrapping its lines."""
    stream = screen.results()
    stream.write(printable(text) + ("\n" if newline else ""))
    stream.flush()


def piece(text: str, **style: Any) -> None:
    """Print a piece of a line of the results immediately."""
    stream = screen.results()
    text = printable(text)
    stream.write(typer.style(text, **style) if style and screen.is_styled(stream) else text)
    stream.flush()


def log(text: str) -> None:
    """Print the log of a job among the results: overwritten lines too, no colours."""
    raw(_COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n"), newline=False)


def content(line: str, margin: str, **style: Any) -> None:
    """Print a line of text out of data after a margin.

    Where a terminal needs several lines for it, each has the margin.
    """
    stream = screen.results()
    width = screen.width_of(stream)
    text = printable(line)
    for part in [text] if width is None else fold(text, width - len(margin)):
        _write(stream, f"{margin}{part}", **style)


def heading(text: str) -> None:
    """Print the heading of a section of the results."""
    stream = screen.results()
    _write(stream, "")
    _print_prose(stream, printable(text), bold=True)


def command(label: str, words: Sequence[str]) -> None:
    r"""Print a command to copy.

    On a terminal that is too narrow for it, its lines end in `\`.
    """
    stream = screen.results()
    line = printable(f"{label}{shlex.join(words)}")
    width = screen.width_of(stream)
    lines = [line]
    if width is not None and screen.cells(line) > width:
        lines = [f"{label}{printable(shlex.quote(words[0]))}"]
        for word in (printable(shlex.quote(word)) for word in words[1:]):
            if screen.cells(f"{lines[-1]} {word}") > width - 2:
                lines[-1] += " \\"
                lines.append("   ")
            lines[-1] += f" {word}"
    for text in lines:
        _write(stream, text)


def _print_labelled(label: str, colour: str, text: str) -> None:
    whole = f"{label}: {printable(text)}"
    width = screen.width_of(sys.stderr)
    lines = whole.split("\n") if width is None else wrap(whole, width, " " * (len(label) + 2))
    if screen.is_styled(sys.stderr):
        lines[0] = typer.style(f"{label}:", fg=colour, bold=True) + lines[0].removeprefix(f"{label}:")
    for line in lines:
        _write(sys.stderr, line)


def _print_prose(stream: TextIO, text: str, **style: Any) -> None:
    width = screen.width_of(stream)
    for line in text.split("\n") if width is None else wrap(text, width):
        _write(stream, line, **style)


def _write(stream: TextIO, line: str, **style: Any) -> None:
    stream.write((typer.style(line, **style) if style and screen.is_styled(stream) else line) + "\n")
    stream.flush()
