"""Render report.html, the page of one run."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nemotron.charts import render_chart, render_library
from nemotron.config.yaml_file import as_argument
from nemotron.files.atomic_files import write_text
from nemotron.html_page import html_page
from nemotron.printable import printable
from nemotron.training.reporting.report.curves import Curves
from nemotron.training.reporting.report.parts import Html, clock, table, unfold
from nemotron.training.reporting.report.run_charts import charts_of_run, label_of
from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.report.summary import summarize

REPORT = "report.html"
RELOAD_SECONDS = 30
"""The shortest time after which the page of a running run reloads itself."""
_RELOAD = Path(__file__).with_name("reload.js")


def write_report(run: RunFiles, path: Path | None = None) -> Path:
    """Write the page of a run atomically.

    Args:
        run: The run, as last read.
        path: The file to write; by default report.html in the run's folder.
    """
    path = path or run.folder / REPORT
    write_text(path, render_run(run, path.absolute().parent))
    return path


def render_run(run: RunFiles, page_folder: Path) -> str:
    """Render the page of a run as a complete HTML document.

    Args:
        run: The run, as last read.
        page_folder: Folder of the page, for links.
    """
    charts = "".join(map(render_chart, charts_of_run(run)))
    parts = [
        reload_script([run]),
        table(summarize(run, page_folder), kind="facts"),
        f"<h2>Losses</h2>{_losses(run)}",
        charts,
        f"<h2>What happened</h2>{table(_happenings(run), ('UTC', ''), kind='facts')}",
        f"<h2>Settings</h2>{_settings(run)}",
        render_library(),
    ]
    name = run.start.get("name")
    title = f"Training {name} in {run.folder.name}" if name else f"Training in {run.folder.name}"
    return html_page(printable(title, one_line=True), "".join(parts))


def reload_script(runs: list[RunFiles]) -> str:
    """Say when the page was written, and reload it while a run works."""
    now = datetime.now(UTC)
    written = f'<p class="soft">Written {now:%Y-%m-%d %H:%M:%S} UTC.'
    if all(run.state != "running" for run in runs):
        return f"{written}</p>"
    timing = json.dumps({"written": now.timestamp(), "seconds": RELOAD_SECONDS})
    script = _RELOAD.read_text(encoding="utf-8").replace("TIMING", timing)
    box = '<label><input type="checkbox" id="reload" checked> reload automatically</label>'
    return f"{written} {box}</p><script>{script}</script>"


def _losses(run: RunFiles) -> str:
    """Show the course of every loss and acceptance on each split."""
    splits = {"training": run.metrics, "valid": run.validation, "test": run.test}
    splits = {name: curves for name, curves in splits.items() if len(curves)}
    names = dict.fromkeys(name for curves in splits.values() for name in curves.names if is_measure(name))
    if not names:
        return "<p>No iteration was logged.</p>"
    rows = [(label_of(name, run.sample), *(_course(curves, name) for curves in splits.values())) for name in names]
    return table(rows, ("", *splits))


def is_measure(name: str) -> bool:
    """Tell whether a number of the records is shown as a loss or an acceptance."""
    return name.endswith(("_loss", "_acceptance")) and name != "lm_loss"  # which is one of the others


def _course(curves: Curves, name: str) -> str:
    """Write the first and the last value, and the best one where that is neither."""
    values = curves.column(name)
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    best = values.max() if name.endswith("_acceptance") else values.min()
    shown = f"{values[0]:.4f} → {values[-1]:.4f}" if len(values) > 1 else f"{values[0]:.4f}"
    return shown if best in (values[0], values[-1]) else f"{shown} (best {best:.4f})"


def _happenings(run: RunFiles) -> list[tuple[object, object]]:
    """List starts with their notes, ends, and what the records show, in order."""
    rows: list[tuple[object, object]] = []
    for event, after in pairwise([*run.history, {}]):
        time, iteration = str(event.get("time", ""))[:19].replace("T", " "), event.get("iteration", 0)
        if event["event"] == "end":
            rows.append((time, _describe_end(event, iteration)))
            continue
        machine = event.get("machine") or {}
        where = f" on {machine['describe']}" if machine.get("describe") else ""
        rows.append((time, (f"Resumed after iteration {iteration:,}" if iteration else "Started") + where))
        rows += [("", f"Note: {note}") for note in event.get("notes", [])]
        if after.get("event") == "start" or (not after and run.state == "killed"):
            rows.append(("", "No end was recorded: it was killed, or its machine stopped."))
    rows += [(f"iteration {at:,}", f"The loss averages over {stage}s.") for at, stage in run.metrics.stages]
    rows += [("", warning) for warning in _warnings(run)]
    return rows


def _describe_end(event: dict[str, Any], iteration: int) -> str:
    if event.get("state") == "failed":
        saved = f"the newest checkpoint is of iteration {iteration:,}" if iteration else "nothing was saved"
        return f"Failed; {saved}: {event.get('message', '')}"
    what = "Stopped by a signal or a time limit" if event.get("state") == "stopped" else "Finished"
    return f"{what} after iteration {iteration:,}."


def _warnings(run: RunFiles) -> list[str]:
    warnings = []
    if len(run.metrics) and (missing := int(np.isnan(run.metrics.column("token_loss")).sum())):
        warnings.append(f"{missing:,} records have no loss: nothing was supervised, or it was not finite.")
    seconds = run.metrics.column("seconds")
    if len(seconds) >= 20 and (slowest := np.nanmax(seconds)) > 5 * np.nanmedian(seconds):
        at = int(run.metrics.column("iteration")[np.nanargmax(seconds)])
        median = clock(float(np.nanmedian(seconds)))
        warnings.append(f"Iteration {at:,} took {clock(float(slowest))}, the median one {median}.")
    return warnings


def _settings(run: RunFiles) -> Html:
    """Show what was changed, then everything to unfold."""
    origins = run.start.get("origins") or {}
    changed = [(key, as_argument(value), origins[key]) for key, value in run.settings.items() if key in origins]
    changed.sort(key=lambda row: row[2] != "command line")
    everything = [(key, as_argument(value)) for key, value in run.settings.items()]
    if not everything:
        return Html("<p>config.yaml is not there.</p>")
    shown = table(changed, ("changed", "value", "where"), kind="settings") if changed else ""
    return Html(shown + unfold(f"All {len(everything)} settings", table(everything, ("key", "value"), kind="settings")))
