"""Render a page that compares several runs: their curves and their differences."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nemotron.charts import render_chart, render_library
from nemotron.config.yaml_file import as_argument
from nemotron.html_page import html_page
from nemotron.training.reporting.report.curves import Curves
from nemotron.training.reporting.report.page import is_measure, reload_script
from nemotron.training.reporting.report.parts import Html, clock, number, table
from nemotron.training.reporting.report.run_charts import charts_of_runs, label_of
from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.report.speed import measure_speed

_ALWAYS = ("optimizer.lr", "train.global_batch_size", "rng.seed")
"""Settings that are shown even if they are the same in all runs."""
_PLACES = ("run.output_dir", "checkpoint.save", "logger.tensorboard_dir", "convert_to_hf.output_dir")
"""Settings that differ in all runs, but do not matter."""


def render_comparison(runs: Mapping[str, RunFiles]) -> str:
    """Render a page of several runs as a complete HTML document.

    Args:
        runs: Name in the legend -> run.
    """
    header = ("", *runs)
    differing = differences(runs)
    parts = [
        reload_script([*runs.values()]),
        table(_numbers(runs), header, kind="runs"),
        "<h2>Settings that differ</h2>",
        table(differing, header, kind="settings") if differing else "<p>None.</p>",
        "<h2>Curves</h2>",
        *map(render_chart, charts_of_runs(runs)),
        render_library(),
    ]
    return html_page(f"{len(runs)} runs", Html("".join(parts)))


def name_runs(folders: Sequence[Path]) -> list[str]:
    """Name runs by the shortest ends of their folders that differ."""
    parts = [folder.absolute().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def differences(runs: Mapping[str, RunFiles]) -> list[tuple[str, ...]]:
    """List the settings in which runs differ: the key, and the value of each run."""
    settings = [run.settings | _data_of(run) for run in runs.values()]
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = []
    for key in keys:
        values = [as_argument(each[key]) if key in each else "" for each in settings]
        if len(set(values)) > 1 and key not in _PLACES:
            rows.append((key, *values))
    return rows


def _data_of(run: RunFiles) -> dict[str, str]:
    """Return the version of the data, because run.data may be `latest`."""
    reference = (run.start.get("data") or {}).get("reference")
    return {} if reference is None else {"data": reference}


def _numbers(runs: Mapping[str, RunFiles]) -> list[tuple[str, ...]]:
    """List the numbers of the runs, with a line for each number that any run has."""
    columns = [_numbers_of(run) for run in runs.values()]
    # The run with the most numbers determines their order.
    labels = dict.fromkeys(label for column in sorted(columns, key=len, reverse=True) for label in column)
    return [(label, *(column.get(label, "") for column in columns)) for label in labels]


def _numbers_of(run: RunFiles) -> dict[str, str]:
    seconds, speed = run.count_seconds(), measure_speed(run)
    found = {"state": run.state, "iterations": f"{run.finished:,}", **_data_of(run)}
    found |= {key: as_argument(run.settings[key]) for key in _ALWAYS if key in run.settings}
    for split, curves in (("training", run.metrics), ("valid", run.validation), ("test", run.test)):
        for name in curves.names:
            if is_measure(name):
                found |= _last(split, curves, name)
    if (lr := run.metrics.last.get("lr")) is not None:
        found["last learning rate"] = f"{lr:.4g}"
    if seconds is not None:
        found["duration"] = clock(seconds)
    if speed is not None:
        found["tokens/s"] = number(speed.tokens)
        if speed.mfu is not None:
            found["MFU"] = f"{speed.mfu:.1%}"
    return found


def _last(split: str, curves: Curves, name: str) -> dict[str, str]:
    """Return the last value by its label, and for a valid loss also the lowest."""
    values = curves.column(name)
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    label = f"{label_of(name, 'sample')}, {split}"
    shown = {label: f"{values[-1]:.4f}"}
    if split == "valid" and name in ("token_loss", "sample_loss"):
        shown[f"{label}, lowest"] = f"{values.min():.4f}"
    return shown
