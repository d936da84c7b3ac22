"""The charts of runs: of one in full, of several with a curve each."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nemotron.charts import Chart, Marker, Series
from nemotron.charts.subsample import Floats
from nemotron.training.reporting.report.curves import Curves
from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.report.speed import tokens_per_second

_ITERATION = "iteration"
_GROUP = "iterations"


@dataclass(frozen=True)
class _Quantity:
    """Something measured along the iterations."""

    title: str
    unit: str
    name: str
    """In the records."""
    values: Callable[[RunFiles], Floats] | None = None
    """Where it is computed from several of them."""


_OTHERS = (
    _Quantity("Learning rate", "learning rate", "lr"),
    _Quantity("Gradient norm before clipping", "gradient norm", "grad_norm"),
    _Quantity("Throughput", "tokens/s", "tokens_per_second", tokens_per_second),
    _Quantity("Seconds per iteration", "seconds", "seconds"),
    _Quantity("Supervised tokens of an iteration", "tokens", "supervised_tokens"),
    _Quantity("Memory of the last rank's GPU, highest so far", "GB", "peak_memory_gb"),
    _Quantity("Skipped batches so far", "batches", "skipped_batches"),
)
_NATS = "cross entropy (nats)"


def label_of(name: str, sample: str) -> str:
    """Name a loss or an acceptance of the records as the pages do.

    Args:
        name: `token_loss`, `mtp_1_acceptance`.
        sample: What the average over samples counts.
    """
    if found := re.fullmatch(r"mtp_(\d+)_(loss|acceptance)", name):
        return f"MTP depth {found[1]} {found[2]}"
    return {"token_loss": "average per token", "sample_loss": f"average per {sample}"}.get(name, name)


def charts_of_run(run: RunFiles) -> list[Chart]:
    """Make the charts of one run: what is evaluated next to what is trained on."""
    averages = {name: label_of(name, run.sample) for name in ("token_loss", "sample_loss")}
    loss = [_series(label, run.metrics, name, color=color) for color, (name, label) in enumerate(averages.items())]
    for split, curves in (("valid", run.validation), ("test", run.test)):
        for color, (name, label) in enumerate(averages.items(), 2 if split == "valid" else 4):
            loss.append(_series(f"{split}: {label}", curves, name, "dots", color))
    charts = [_chart("Loss", _NATS, loss, marks_of(run))]
    for title, unit, quantity in (
        ("Multi-token prediction: loss", _NATS, "loss"),
        ("Multi-token prediction: acceptance", "share of targets", "acceptance"),
    ):
        series = []
        for depth in mtp_depths(run, quantity):
            name = f"mtp_{depth}_{quantity}"
            series.append(_series(f"depth {depth}", run.metrics, name, color=2 * depth - 2))
            series.append(_series(f"valid: depth {depth}", run.validation, name, "dots", 2 * depth - 1))
        charts.append(_chart(title, unit, series, marks_of(run)))
    for each in _OTHERS:
        if each.name == "skipped_batches" and not run.metrics.last.get("skipped_batches"):
            continue
        if each.name == "seconds" and run.start.get("pack_size"):  # tokens/s are the same curve upside down
            continue
        charts.append(_chart(each.title, each.unit, [_measured(each.unit, run, each)], marks_of(run)))
    return charts


def charts_of_runs(runs: Mapping[str, RunFiles]) -> list[Chart]:
    """Make charts with a curve for each run, by its name."""
    marks = [
        Marker(iteration, f"{name}: {stage} stage")
        for name, run in runs.items()
        for iteration, stage in run.metrics.stages[1:]
    ]
    charts = []
    for name, label in (("token_loss", "average per token"), ("sample_loss", "average per sample")):
        for split in ("training", "valid"):
            series = [
                _series(run_name, run.metrics if split == "training" else run.validation, name, _kind(split), color)
                for color, (run_name, run) in enumerate(runs.items())
            ]
            charts.append(_chart(f"{split.capitalize()} loss, {label}", _NATS, series, marks))
    for quantity, unit in (("loss", _NATS), ("acceptance", "share of targets")):
        for depth in sorted({depth for run in runs.values() for depth in mtp_depths(run, quantity)}):
            measured = _Quantity("", unit, f"mtp_{depth}_{quantity}")
            series = [_measured(name, run, measured, color) for color, (name, run) in enumerate(runs.items())]
            charts.append(_chart(f"Multi-token prediction: {quantity} of depth {depth}", unit, series, marks))
    for each in _OTHERS:
        if each.name != "skipped_batches":
            series = [_measured(name, run, each, color) for color, (name, run) in enumerate(runs.items())]
            charts.append(_chart(each.title, each.unit, series, marks))
    return charts


def marks_of(run: RunFiles) -> list[Marker]:
    """Mark the stages of the loss, where the run was resumed, checkpoints."""
    stages = [Marker(iteration, f"{stage} stage") for iteration, stage in run.metrics.stages]
    starts = [Marker(start["iteration"], "resumed") for start in run.starts if start["iteration"]]
    return [*stages, *starts, *(Marker(at, f"checkpoint {at:,}", quiet=True) for at in run.checkpoints)]


def mtp_depths(run: RunFiles, quantity: str) -> list[int]:
    """List the depths of multi-token prediction that a run has measured this of."""
    found = (re.fullmatch(rf"mtp_(\d+)_{quantity}", name) for name in run.metrics.names)
    return sorted(int(each[1]) for each in found if each)


def _chart(title: str, unit: str, series: list[Series], marks: list[Marker]) -> Chart:
    log = unit == "gradient norm" and any(_spans_decades(np.asarray(each.y, dtype=float)) for each in series)
    return Chart(title, _ITERATION, unit, series, marks, log=log, group=_GROUP)


def _spans_decades(values: Floats) -> bool:
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(len(positive)) and float(positive.max() / np.median(positive)) > 30


def _kind(split: str) -> Literal["line", "dots"]:
    return "line" if split == "training" else "dots"


def _series(
    label: str, curves: Curves, name: str, kind: Literal["line", "dots"] = "line", color: int | None = None
) -> Series:
    trend = kind == "line" and name != "lr"
    return Series(label, curves.column(_ITERATION), curves.column(name), kind, trend=trend, color=color)


def _measured(label: str, run: RunFiles, quantity: _Quantity, color: int = 0) -> Series:
    if quantity.values is None:
        return _series(label, run.metrics, quantity.name, color=color)
    return Series(label, run.metrics.column(_ITERATION), quantity.values(run), trend=True, color=color)
