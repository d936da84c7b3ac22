"""What a run is and came to, in a line each."""

import os
from pathlib import Path
from urllib.parse import quote

import numpy as np

from nemotron.training.reporting.report.curves import Curves
from nemotron.training.reporting.report.parts import Html, clock, number, to_html, unfold
from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.report.speed import Speed, measure_speed

STATES = {
    "running": "running",
    "finished": "finished",
    "stopped": "stopped by a signal or a time limit; the same command continues it",
    "failed": "failed",
    "killed": "ended without recording why: killed, or its machine stopped; the same command continues it",
    "unknown": "",
}

Facts = list[tuple[str, object]]


def summarize(run: RunFiles, page_folder: Path) -> Facts:
    """List what a run is and came to, as (name, value); what is not known is left out.

    Args:
        run: The run.
        page_folder: Where the page is written, for links.
    """
    iterations = f"{run.finished:,}" + (f" of {run.train_iters:,}" if run.train_iters else "")
    facts: Facts = [("state", STATES[run.state]), ("iterations", iterations), ("data", _data(run, page_folder))]
    facts += [("model", run.settings.get("recipe.hf_model")), ("trained", _adapters(run))]
    facts += _seen(run)
    speed = measure_speed(run)
    facts += _times(run, speed)
    if speed is not None:
        facts += _speeds(speed)
    if (memory := run.metrics.last.get("peak_memory_gb")) is not None:
        facts.append(("memory", f"{memory:,.1f} GB at most, on the GPU of the last rank"))
    if skipped := run.metrics.last.get("skipped_batches"):
        facts.append(("skipped batches", f"{skipped:,}: nothing in them was supervised"))
    return [(name, value) for name, value in facts if value not in (None, "")]


def _data(run: RunFiles, page_folder: Path) -> object:
    data = run.start.get("data") or {}
    reference = data.get("reference") or run.settings.get("run.data")
    packs = data.get("packs") or {}
    counted = ", ".join(f"{split} {count:,}" for split, count in packs.items())
    text = f"{reference}, packs: {counted}" if counted else reference
    report = None if data.get("splits") is None else find_data_report(Path(data["splits"]))
    if report is None:
        return text
    link = quote(os.path.relpath(report, page_folder))
    return Html(f'{to_html(text)}, <a href="{to_html(link)}">its report</a>')


def find_data_report(splits: Path) -> Path | None:
    """Find report.html of the data prep run that made these splits.

    None where it is not on this disk, or tells of another run.
    """
    for folder in splits.parents[:3]:  # output_dir, or output_dir/runs/HASH
        report, current = folder / "report.html", folder / "splits"
        if report.is_file() and current.exists() and current.resolve() == splits.resolve():
            return report
    return None


def _adapters(run: RunFiles) -> str:
    scheme = run.settings.get("peft.scheme")
    return f"{scheme} adapters" if scheme else "all weights"


def _seen(run: RunFiles) -> Facts:
    packs, pack_size = run.metrics.last.get("consumed_samples"), run.start.get("pack_size")
    facts: Facts = []
    if packs is not None:
        in_tokens = f" of {pack_size:,} tokens: {number(packs * pack_size)} positions" if pack_size else ""
        facts.append(("packs seen", f"{packs:,}{in_tokens}"))
    for name, label in (("supervised_tokens", "supervised tokens seen"), ("conversations", f"{run.sample}s seen")):
        total, is_estimate = count_seen(run.metrics, name)
        if total:
            facts.append((label, f"{'about ' if is_estimate else ''}{number(total)}"))
    return facts


def count_seen(metrics: Curves, name: str) -> tuple[float, bool]:
    """Add up a count over all iterations.

    Returns:
        The sum, and whether it is an estimate: iterations that were not logged count like those that were.
    """
    counts = metrics.column(name)
    known = np.isfinite(counts)
    if not known.any():
        return 0, False
    all_of_them = metrics.last["iteration"]
    is_estimate = all_of_them > known.sum()
    return float(counts[known].mean() * all_of_them if is_estimate else counts[known].sum()), is_estimate


def _times(run: RunFiles, speed: Speed | None) -> Facts:
    facts: Facts = []
    if (seconds := run.count_seconds()) is not None:
        times = len(run.starts)
        facts.append(("duration", clock(seconds) + (f", in {times} starts" if times > 1 else "")))
    if speed is None:
        return facts
    facts.append(("median iteration", clock(speed.seconds)))
    left = (run.train_iters or 0) - run.finished
    if run.state == "running" and left > 0:
        facts.append(("left", f"about {clock(left * speed.seconds)}, evaluations not counted"))
    return facts


def _speeds(speed: Speed) -> Facts:
    facts: Facts = [("tokens/s", f"{number(speed.tokens)} (positions of packs)")]
    if speed.gpus is None:
        return [*facts, *([("device", speed.device)] if speed.device else [])]
    facts += [("tokens/s per GPU", number(speed.tokens / speed.gpus)), ("GPUs", f"{speed.gpus:,} x {speed.device}")]
    if speed.mfu is not None:
        assert speed.flops_per_token is not None
        known = f"{speed.flops_per_token:.3g} FLOPs per token; peak {speed.peak:,.0f} TFLOP/s (dense BF16)"
        formula = unfold("how it is computed", to_html(speed.formula))
        facts.append(("MFU", Html(f"{to_html(f'{speed.mfu:.1%}: {known}')}{formula}")))
    else:
        unknown = "the peak of this device" if speed.peak is None else "the shape of this model"
        facts.append(("MFU", f"not known: {unknown} is not"))
    return facts
