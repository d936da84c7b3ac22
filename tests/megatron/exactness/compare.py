"""Measured differences between a layout and the formulas, and the table they are shown in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tests.megatron.exactness.batches import make_batches
from tests.megatron.exactness.layouts import Layout
from tests.megatron.exactness.objective import Truth, solve
from tests.megatron.exactness.rank import AUX_COEFFICIENT, MODEL
from tests.megatron.exactness.reference_model import ReferenceModel
from tests.megatron.exactness.shards import Shard, assemble
from tests.megatron.exactness.weights import make_weight

STAGES = ("token", "sample")
MTP_SCALE = 0.3


@dataclass(frozen=True)
class Difference:
    """How far a layout is from the truth. All relative."""

    losses: float
    """The largest of token, sample and MTP losses, in either step."""
    gradients: dict[str, float]
    """Stage -> the largest difference of any gradient entry, relative to the largest entry of its parameter."""
    worst: dict[str, str]
    """Stage -> the parameter where that is."""
    norm: float
    """Of the gradient norm that is reported and clipped by."""
    replicas: float
    """Between ranks that hold the same part of a parameter."""


class Reference:
    """The truth about each batch, computed when first asked for."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """`shapes`: of every parameter; the expert biases, which get no gradient, are added."""
        weights = {name: make_weight(name, shape).double().requires_grad_() for name, shape in shapes.items()}
        for name, shape in shapes.items():
            if name.endswith("router.weight"):
                bias = name.replace("router.weight", "router.expert_bias")
                weights[bias] = make_weight(bias, shape[:1]).double()
        self._model = ReferenceModel(MODEL / "config.json", weights)
        self._batches = make_batches()
        self._known: dict[str, Truth] = {}

    def __getitem__(self, batch: str) -> Truth:
        if batch not in self._known:
            self._known[batch] = solve(self._model, self._batches[batch], MTP_SCALE, AUX_COEFFICIENT)
        return self._known[batch]


def measure(layout: Layout, folder: Path, reference: Reference | None = None) -> tuple[Difference, Reference]:
    """Compare what the ranks of a layout recorded in `folder/<name>` with the truth."""
    records = [torch.load(folder / layout.name / f"rank{rank}.pt") for rank in range(layout.ranks)]
    losses, norms, replicas = 0.0, 0.0, 0.0
    gradients, worst = {}, {}
    for index, stage in enumerate(STAGES):
        steps = [steps[index] for steps in records]
        whole, apart = assemble([Shard(*part) for step in steps for part in step["gradients"]])
        reference = reference or Reference({name: tuple(tensor.shape) for name, tensor in whole.items()})
        truth = reference[layout.batch]
        gradients[stage], worst[stage] = _largest(whole, truth.gradients[stage])
        replicas = max(replicas, apart)
        # Losses are reported on the last pipeline stage.
        reported = next(step["losses"] for step in reversed(steps) if step["losses"])
        losses = max([losses, *_loss_differences(reported, truth, stage)])
        norm = torch.cat([g.flatten() for g in truth.gradients[stage].values()]).norm().item()
        norms = max([norms, *(abs(step["norm"] / norm - 1) for step in steps)])
    assert reference is not None
    return Difference(losses, gradients, worst, norms, replicas), reference


def _largest(found: dict[str, Tensor], true: dict[str, Tensor]) -> tuple[float, str]:
    if found.keys() != true.keys():
        raise ValueError(f"Parameters differ: {sorted(found.keys() ^ true.keys())}")
    apart = {
        name: ((found[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-12)).item()
        for name, gradient in true.items()
    }
    name = max(apart, key=lambda key: apart[key])
    return apart[name], name


def _loss_differences(reported: dict[str, float], truth: Truth, stage: str) -> Iterable[float]:
    names = {"token loss": "token", "sample loss": "sample", "mtp_1 loss": "mtp_1", "mtp_2 loss": "mtp_2"}
    names["lm loss"] = stage
    for name, true in names.items():
        if name in reported:
            yield abs(reported[name] / truth.losses[true] - 1)


def table(rows: Sequence[tuple[Layout, Difference]]) -> str:
    """The differences as Markdown."""
    lines = [
        "| layout | ranks | losses | gradient, token stage | gradient, sample stage | gradient norm | replicas |",
        "|---|---|---|---|---|---|---|",
    ]
    for layout, difference in rows:
        figures = [difference.losses, *difference.gradients.values(), difference.norm, difference.replicas]
        lines.append(f"| {layout.name} | {layout.ranks} | {' | '.join(f'{figure:.1e}' for figure in figures)} |")
    return "\n".join(lines)
