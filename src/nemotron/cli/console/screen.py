"""Find out where output goes: to a terminal, to a pager on it, or elsewhere."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

USUAL_WIDTH = 80
_NARROWEST = 20
"""A terminal that reports less than this does not know its width."""


class _Pager:
    """Holds the stream of the pager while results go to one."""

    stream: TextIO | None = None


def results() -> TextIO:
    """Return the stream of the results: stdout, or the pager."""
    return _Pager.stream or sys.stdout


@contextmanager
def results_go_to(stream: TextIO) -> Iterator[None]:
    """Send the results to a stream that ends up on the terminal."""
    _Pager.stream = stream
    try:
        yield
    finally:
        _Pager.stream = None


def width_of(stream: TextIO) -> int | None:
    """Return the width of a terminal, or None if the stream goes elsewhere."""
    if not is_terminal(stream):
        return None
    known = os.environ.get("COLUMNS", "")
    width = int(known) if known.isdecimal() else _ask(stream)
    return width if width >= _NARROWEST else USUAL_WIDTH


def is_styled(stream: TextIO) -> bool:
    """Tell whether to use colours and bold text."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream ends on a terminal, directly or through the pager.

    Slurm gives a job whose output is unbuffered, as NeMo-Run asks for, a pseudoterminal whose other end is the log.
    """
    is_log = os.environ.get("SLURM_UNBUFFEREDIO") == "1" and "SLURM_PTY_PORT" not in os.environ
    return stream is _Pager.stream or (stream.isatty() and not is_log)


def cells(text: str) -> int:
    """Count the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _ask(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(1 if stream is _Pager.stream else stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return USUAL_WIDTH
