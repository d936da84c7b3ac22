"""Run a script: load its config, show its result, report a user's mistake."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from nemotron.cli import console
from nemotron.config import Loaded, add_word, load_config
from nemotron.errors import UserError
from nemotron.exit_codes import INTERRUPTED, STOPPED, STOPPED_MARK


def run_script[T, R](
    body: Callable[[Loaded[T]], R],
    show: Callable[[R], bool | None],
    *,
    schema: type[T],
    group: str = "",
    description: str | None = None,
    words: tuple[str, ...] = (),
) -> None:
    """Load the config named on the command line, run `body` and `show` its result.

    Sections in `words` may be given as options, too: `--peft lora` for `peft=lora`.

    Exits with 1 on a UserError, with STOPPED where `show` returns that something is left to do (see exit_codes.py), and
    with INTERRUPTED on Ctrl-C. Of torchrun's processes the first shows the result, and reports a mistake in the
    config, which all of them find. A later mistake may be one process's own, so each reports it.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument("--config", "-c", default="default", metavar="NAME|FILE", help="a shipped config, or a file")
    for word in words:
        parser.add_argument(f"--{word}", metavar="NAME", help=f"short for {word}=NAME")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted keys of the config")
    arguments = parser.parse_intermixed_args()
    rank = os.environ.get("RANK", "0")
    try:
        overrides = arguments.overrides
        for word in words:
            overrides = add_word(word, getattr(arguments, word), overrides)
        loaded = load_config(arguments.config, overrides, group=group, schema=schema)
    except UserError as error:
        if rank == "0":
            console.error(error)
        sys.exit(1)
    try:
        result = body(loaded)
    except UserError as error:
        if rank != "0":
            console.note(f"On rank {rank}:")
        console.error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        if rank == "0":
            console.note("Interrupted. The same command continues where this one stopped.")
        sys.exit(INTERRUPTED)
    if rank == "0" and show(result):
        _leave_stopped()


def _leave_stopped() -> None:
    """Exit with STOPPED.

    Under recipes/torchrun.py leave the mark that makes it exit so.
    """
    if mark := os.environ.get(STOPPED_MARK):
        Path(mark).touch()
    else:
        sys.exit(STOPPED)
