"""Mask secrets in the output of training, of Megatron, W&B and others."""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemotron.files.atomic_files import FULL
from nemotron.files.regular_files import open_file
from nemotron.lineage.origin import mask_arguments
from nemotron.secrets import MaskedStream


@contextlib.contextmanager
def mask_output(log: Path | None) -> Iterator[None]:
    """Mask secrets in the output of Python code in the `with` block.

    Secrets in the command line, which W&B records, are masked too.

    Args:
        log: A file for the output, if the terminal shows progress; None does not redirect the output.
    """
    with contextlib.ExitStack() as inside:
        file = None if log is None else inside.enter_context(_open_log(log))
        out, err = (MaskedStream(file or stream) for stream in (sys.stdout, sys.stderr))
        inside.enter_context(contextlib.redirect_stdout(out))  # pyright: ignore[reportArgumentType]
        inside.enter_context(contextlib.redirect_stderr(err))  # pyright: ignore[reportArgumentType]
        before = sys.argv
        sys.argv = [*before[:1], *mask_arguments(before[1:])]
        try:
            yield
        finally:
            sys.argv = before


def _open_log(log: Path) -> io.TextIOWrapper:
    open_file(log, "ab").close()  # refuses what is not a file
    return io.TextIOWrapper(io.BufferedWriter(_Log(log, "ab")), encoding="utf-8", line_buffering=True)


class _Log(io.FileIO):
    """A file that loses lines when the disk is full.

    That fails a save, and the save says what to do.
    """

    def write(self, line: Any) -> int:
        try:
            return super().write(line)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return len(line)
