"""Run `nemotron super3 data verify`: check that prepared data has not changed."""

from pathlib import Path
from typing import Annotated

import typer

from nemotron.cli import console, options


def verify(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", callback=options.expand_paths, help="The output_dir of a finished data prep."),
    ],
) -> None:
    """Check prepared data: checksums, links, packs, masks and counts.

    The exit code is 1 if something is wrong.

    \b
    Examples:
      nemotron super3 data verify output/stage1_sft
    """
    from nemotron.data_prep.output.verify import verify as problems_of

    found = 0
    for problem in problems_of(folder):
        found += 1
        console.out(problem)
    if found:
        things = "1 thing is" if found == 1 else f"{found} things are"
        console.note(f"{things} wrong with {folder}. Prepare the data again with --force.")
        raise typer.Exit(1)
    console.out(f"{folder} is unchanged since it was written.")
