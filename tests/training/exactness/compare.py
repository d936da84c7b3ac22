"""Measured differences between a layout and the formulas, and the table that shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tests.training.exactness.adapters import adapted
from tests.training.exactness.batches import make_batches
from tests.training.exactness.layouts import Layout
from tests.training.exactness.objective import Truth, solve
from tests.training.exactness.rank import AUX_COEFFICIENT, MODEL
from tests.training.exactness.reference_model import ReferenceModel
from tests.training.exactness.shards import Shard, assemble
from tests.training.exactness.weights import make_weight
from torch import Tensor

STAGES = ("token", "sample")
MTP_SCALE = 0.3
Shapes = dict[str, tuple[int, ...]]
REPORTED = {"token loss": "token", "sample loss": "sample", "mtp depth 1 loss": "mtp_1", "mtp depth 2 loss": "mtp_2"}


@dataclass(frozen=True)
class Difference:
    """How far something is from the truth. All figures are relative."""

    losses: float
    """The largest of the reported losses: trained, token, sample, MTP."""
    gradients: dict[str, dict[str, float]]
    """Stage -> parameter -> the largest difference of an entry, relative to the parameter's largest entry."""
    norm: float
    """Of the gradient norm that is reported, and clipped by."""
    replicas: float
    """Between ranks that hold the same part of a parameter."""

    def worst(self, stage: str) -> tuple[float, str]:
        """The parameter that differs most, and by how much."""
        return max((difference, name) for name, difference in self.gradients[stage].items())


class Reference:
    """The truth about each batch, solved when first asked for."""

    def __init__(self) -> None:
        self._batches = make_batches()
        self._truths: dict[tuple[str, frozenset[str]], Truth] = {}

    def truth(self, batch: str, shapes: Shapes, frozen: Shapes | None = None) -> Truth:
        """Float64 losses and gradients of a batch; `shapes` are those of all trained parameters."""
        key = batch, frozenset(shapes)
        if key not in self._truths:
            self._truths[key] = self.solve(batch, shapes, frozen)
        return self._truths[key]

    def solve(
        self,
        batch: str,
        shapes: Shapes,
        frozen: Shapes | None = None,
        dtype: torch.dtype = torch.float64,
        mtp_scale: float = MTP_SCALE,
        aux_coefficient: float = AUX_COEFFICIENT,
    ) -> Truth:
        """The same in another precision, or for other objectives."""
        trained = {name: make_weight(name, shape).to(dtype).requires_grad_() for name, shape in shapes.items()}
        weights = trained | {name: make_weight(name, shape).to(dtype) for name, shape in (frozen or {}).items()}
        for name in [name for name in weights if name.endswith("router.weight")]:
            bias = name.replace("router.weight", "router.expert_bias")  # it is not trained by gradients
            weights[bias] = make_weight(bias, tuple(weights[name].shape[:1])).to(dtype)
        model = ReferenceModel(MODEL / "config.json", adapted(weights))
        return solve(model, trained, self._batches[batch], mtp_scale, aux_coefficient)


@dataclass(frozen=True)
class Recorded:
    """What the ranks of a layout left of one step."""

    gradients: dict[str, Tensor]
    losses: dict[str, float]
    norms: list[float]
    replicas: float
    frozen: Shapes
    """Of the weights that are not trained: with adapters, of all that they are added to."""

    @property
    def shapes(self) -> Shapes:
        """Of every trained parameter, unsharded."""
        return {name: tuple(gradient.shape) for name, gradient in self.gradients.items()}


def read(layout: Layout, folder: Path) -> dict[str, Recorded]:
    """Put the records in `folder/<name>` together, stage by stage."""
    ranks = read_ranks(layout, folder)
    frozen = {name: shape for rank in ranks for name, shape in rank["frozen"].items()} if layout.adapters else {}
    recorded = {}
    for index, stage in enumerate(STAGES):
        steps = [rank["steps"][index] for rank in ranks]
        gradients, replicas = assemble([Shard(*part) for step in steps for part in step["gradients"]])
        # Losses are reported on the last pipeline stage, by each of its ranks alike.
        losses = next(step["losses"] for step in reversed(steps) if step["losses"])
        recorded[stage] = Recorded(gradients, losses, [step["norm"] for step in steps], replicas, frozen)
    return recorded


def read_ranks(layout: Layout, folder: Path) -> list[dict[str, Any]]:
    """What each rank of a layout recorded (rank.py)."""
    return [torch.load(folder / layout.name / f"rank{rank}.pt") for rank in range(layout.ranks)]


def measure(layout: Layout, folder: Path, reference: Reference) -> Difference:
    """Compare what a layout recorded with the truth about its batch."""
    recorded = read(layout, folder)
    truth = reference.truth(layout.batch, recorded["token"].shapes, recorded["token"].frozen)
    losses, norms = [], []
    for stage, step in recorded.items():
        average = layout.sample if stage == "sample" else stage
        names = {**REPORTED, "sample loss": layout.sample, "lm loss": average}
        losses += [_apart(step.losses[name], truth.losses[true]) for name, true in names.items() if name in step.losses]
        norm = torch.cat([gradient.flatten() for gradient in truth.gradients[average].values()]).norm().item()
        norms += [_apart(reported, norm) for reported in step.norms]
    averages = {"token": "token", "sample": layout.sample}
    return Difference(
        losses=max(losses),
        gradients={stage: apart(step.gradients, truth.gradients[averages[stage]]) for stage, step in recorded.items()},
        norm=max(norms),
        replicas=max(step.replicas for step in recorded.values()),
    )


def apart(found: dict[str, Tensor], true: dict[str, Tensor]) -> dict[str, float]:
    """Parameter -> the largest difference of an entry, relative to the largest entry.

    Raises ValueError when one side has parameters that the other has not.
    """
    if found.keys() != true.keys():
        raise ValueError(f"Parameters of only one side: {', '.join(sorted(found.keys() ^ true.keys()))}")
    return {
        name: ((found[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-12)).item()
        for name, gradient in true.items()
    }


def _apart(found: float, true: float) -> float:
    return abs(found / true - 1)


def float32_floor(reference: Reference, shapes: Shapes, batch: str = "8") -> Difference:
    """What float32 alone does: the plain-torch model and formulas in float32 against themselves in float64."""
    truth, rounded = reference.truth(batch, shapes), reference.solve(batch, shapes, dtype=torch.float32)
    return Difference(
        losses=max(_apart(rounded.losses[name], value) for name, value in truth.losses.items()),
        gradients={stage: apart(rounded.gradients[stage], truth.gradients[stage]) for stage in STAGES},
        norm=0.0,
        replicas=0.0,
    )


def table(rows: Sequence[tuple[str, Difference]]) -> str:
    """The differences as Markdown."""
    lines = [
        "| | losses | token stage: median | largest | sample stage: median | largest | gradient norm |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, difference in rows:
        figures = [difference.losses]
        for stage in STAGES:
            figures += [median(difference.gradients[stage].values()), difference.worst(stage)[0]]
        figures.append(difference.norm)
        lines.append(f"| {name} | {' | '.join(f'{figure:.1e}' if figure else '' for figure in figures)} |")
    return "\n".join(lines)
