"""Run a script: load its config, show its result, report the user's mistakes."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from nemotron.cli import console
from nemotron.cli.exit import skip_last_collections
from nemotron.config import Loaded, add_word, load_config
from nemotron.errors import UserError
from nemotron.exit_codes import INTERRUPTED, STOPPED, STOPPED_MARK
from nemotron.secrets import mask_streams


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

    Sections in `words` may also be given as options: `--peft lora` for `peft=lora`.

    The exit code is 1 after a UserError, STOPPED if `show` returns that work is left (see exit_codes.py), and
    INTERRUPTED after Ctrl-C. Of torchrun's processes only the first shows the result and reports mistakes in the
    config, which all of them find. A later mistake may concern a single process, so each process reports it.
    """
    mask_streams()
    parser = ArgumentParser(description=description)
    parser.add_argument(
        "--config", "-c", default="default", metavar="NAME|FILE", help="name of a shipped config, or a file"
    )
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
    is_stopped = rank == "0" and show(result)
    skip_last_collections()
    if is_stopped:
        _leave_stopped()


def _leave_stopped() -> None:
    """Exit with STOPPED.

    Under recipes/torchrun.py, create the file that makes it exit with the same code.
    """
    if mark := os.environ.get(STOPPED_MARK):
        Path(mark).touch()
    else:
        sys.exit(STOPPED)
