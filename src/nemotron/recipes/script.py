"""Run a script: load its config, show its result, report a user's mistake."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from nemotron.cli import console
from nemotron.config import Loaded, load_config
from nemotron.errors import UserError


def run_script[T, R](
    body: Callable[[Loaded[T]], R],
    show: Callable[[R], Any],
    *,
    schema: type[T],
    group: str = "",
    description: str | None = None,
) -> None:
    """Load the config named on the command line, run `body` and `show` its result.

    Exits with 1 on a UserError. Of torchrun's processes the first shows the result, and reports a mistake in the
    config, which all of them find. A later mistake may be one process's own, so each reports it.
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
            console.error(error)
        sys.exit(1)
    try:
        result = body(loaded)
    except UserError as error:
        if rank != "0":
            console.note(f"On rank {rank}:")
        console.error(error)
        sys.exit(1)
    if rank == "0":
        show(result)
