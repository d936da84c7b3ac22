"""What the scripts share: arguments to config, and a user's mistake to two lines and exit code 1."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from nemotron.config import Loaded, load_config
from nemotron.errors import UserError


def run_script[T](
    body: Callable[[Loaded[T]], Any], *, schema: type[T], group: str = "", description: str | None = None
) -> None:
    """Load the config that the command line names and call `body` with it. Exits with 1 on a UserError.

    Of the processes that torchrun starts, all find the same mistake in the config, and the first tells it; a mistake
    found later may be one process's own, and that one tells it.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument("--config", "-c", default="default", metavar="NAME|FILE", help="a shipped config, or a file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted keys of the config")
    arguments = parser.parse_intermixed_args()
    rank = os.environ.get("RANK", "0")
    try:
        loaded = load_config(arguments.config, arguments.overrides, group=group, schema=schema)
    except UserError as error:
        if rank == "0":
            _print(error)
        sys.exit(1)
    try:
        body(loaded)
    except UserError as error:
        _print(error, "" if rank == "0" else f"rank {rank}: ")
        sys.exit(1)


def _print(error: UserError, prefix: str = "") -> None:
    print(f"{prefix}error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"{prefix}hint: {error.hint}", file=sys.stderr)
