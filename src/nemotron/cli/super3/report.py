"""Run `nemotron super3 report`: write the page of a run, or of several."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, options
from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.training.reporting.report.run_files import RunFiles

WATCH_SECONDS = 10.0
"""Seconds between two pages of --watch."""
COMPARISON = "runs.html"
"""Where a page of several runs is written, unless --out says."""


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            callback=options.expand_paths,
            help="A run's output folder, its checkpoints, or its model artifact.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            callback=options.expand_paths,
            help=f"Where to; report.html in the run, {COMPARISON} of several.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Rewrite the page until the runs end.")] = False,
    artifacts: options.Artifacts = None,
) -> None:
    """Write the page of a training run, or one page that compares several.

    For one run: losses, validation, throughput, settings and events. For several: their curves in the same charts, and
    the settings and numbers that differ. Training writes the page of its run itself, also while it is running.

    \b
    Examples:
      nemotron super3 report output/tiny/sft
      nemotron super3 report output/tiny/sft --watch
      nemotron super3 report output/lr-1e-5 output/lr-2e-5 -o lr.html
      nemotron super3 report ModelArtifact-sft:v1 ModelArtifact-sft:v2
    """
    from nemotron.training.reporting.report.find_run import find_run
    from nemotron.training.reporting.report.run_files import RunFiles

    configs.use_env_file()
    root = options.artifacts_root(artifacts)
    folders = list(dict.fromkeys(find_run(each, root).absolute() for each in runs))
    if out is not None and out.is_dir():
        raise UserError(f"--out {out} is a folder.", "Give a file, such as --out runs.html.")
    found = [RunFiles(folder) for folder in folders]
    write = _page_of(found, out)
    path = write()
    if watch and any(run.state == "running" for run in found):
        console.note(f"Writing {path} every {WATCH_SECONDS:.0f} seconds until the run ends. Ctrl-C ends it earlier.")
        while any(run.state == "running" for run in found):
            time.sleep(WATCH_SECONDS)
            for run in found:
                run.update()
            write()
    elif watch:
        console.note("No run is active, so the page is written once.")
    rows = [("run", f"{run.folder}: {run.state}, {run.finished:,} iterations") for run in found]
    console.table([*rows, ("report", str(path))])


def _page_of(runs: "list[RunFiles]", out: Path | None) -> Callable[[], Path]:
    """Return what writes the page of these runs, and says where."""
    from nemotron.files.atomic_files import write_text
    from nemotron.training.reporting.report.compare import name_runs, render_comparison
    from nemotron.training.reporting.report.page import write_report

    if len(runs) == 1:
        return lambda: write_report(runs[0], out)
    named = dict(zip(name_runs([run.folder for run in runs]), runs, strict=True))
    path = out or Path(COMPARISON)

    def write() -> Path:
        write_text(path, render_comparison(named))
        return path

    return write
