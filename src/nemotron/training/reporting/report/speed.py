"""How fast a run is, and how much of its GPUs' peak that is."""

from dataclasses import dataclass

import numpy as np

from nemotron.charts.subsample import Floats
from nemotron.training.parallelism.flops import ADAPTER_FORMULA, FORMULA, find_peak
from nemotron.training.reporting.report.run_files import RunFiles


@dataclass(frozen=True)
class Speed:
    """The pace of the median iteration.

    Tokens are positions of packs: what fills them up is computed, too.
    """

    tokens: float
    """Per second, all GPUs together."""
    seconds: float
    """Per iteration."""
    gpus: int | None
    """None on a CPU, or where it is not recorded."""
    device: str
    """Its name; empty where it is not recorded."""
    flops_per_token: float | None
    peak: float | None
    """TFLOP/s of one GPU."""
    adapters_only: bool

    @property
    def mfu(self) -> float | None:
        """Return the share of the peak that goes into the model; None if unknown."""
        if self.gpus is None or self.peak is None or self.flops_per_token is None:
            return None
        return self.tokens / self.gpus * self.flops_per_token / (self.peak * 1e12)

    @property
    def formula(self) -> str:
        """How `mfu` is computed."""
        return ADAPTER_FORMULA if self.adapters_only else FORMULA


def tokens_per_second(run: RunFiles) -> Floats:
    """Return the positions of packs per second of each record; NaN if unknown."""
    iterations, packs, seconds = (run.metrics.column(name) for name in ("iteration", "consumed_samples", "seconds"))
    pack_size = run.start.get("pack_size")
    if not pack_size or not len(iterations):
        return np.full(len(iterations), np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        per_iteration = np.diff(packs, prepend=0) / np.diff(iterations, prepend=0)
        return per_iteration * pack_size / seconds


def measure_speed(run: RunFiles) -> Speed | None:
    """Measure the median iteration of a run; None when none is recorded."""
    tokens, seconds = tokens_per_second(run), run.metrics.column("seconds")
    if not np.isfinite(tokens).any():
        return None
    machine = run.start.get("machine") or {}
    device = machine.get("device") or ""
    return Speed(
        tokens=float(np.nanmedian(tokens)),
        seconds=float(np.nanmedian(seconds)),
        gpus=machine.get("gpus") or None,
        device=device,
        flops_per_token=run.start.get("flops_per_token"),
        peak=find_peak(device),
        adapters_only=bool(run.start.get("adapters_only")),
    )
