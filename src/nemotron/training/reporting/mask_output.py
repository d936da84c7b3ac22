"""Mask secrets in the output of training, of Megatron, W&B and others."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

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
        file = None if log is None else inside.enter_context(open_file(log, "a", encoding="utf-8", buffering=1))
        out, err = (MaskedStream(file or stream) for stream in (sys.stdout, sys.stderr))
        inside.enter_context(contextlib.redirect_stdout(out))  # pyright: ignore[reportArgumentType]
        inside.enter_context(contextlib.redirect_stderr(err))  # pyright: ignore[reportArgumentType]
        before = sys.argv
        sys.argv = [*before[:1], *mask_arguments(before[1:])]
        try:
            yield
        finally:
            sys.argv = before
