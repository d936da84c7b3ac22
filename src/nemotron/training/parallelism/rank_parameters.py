"""Count the parameters of a rank, exactly as Megatron shards them.

Tensor parallelism divides projections, heads and vocabulary; norms, the router and the latent projections are whole on
every rank. Pipeline stages differ: the embedding is on the first, the output layer, the MTP layers and a
second copy of the embedding for them on the last (`HybridModel`, megatron/core/models/hybrid/hybrid_model.py).
"""

from dataclasses import dataclass
from itertools import pairwise

from nemotron.training.parallelism.model_shape import ModelShape


@dataclass(frozen=True)
class Layout:
    """How a model and its packs are divided over ranks.

    The sizes must divide them (`find_rank_faults`).
    """

    ranks: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    expert_tensor: int = 1

    @property
    def data(self) -> int:
        """Count the ranks that hold different packs."""
        return self.ranks // (self.tensor * self.pipeline * self.context)

    @property
    def expert_data(self) -> int:
        """Count the ranks that hold the same experts."""
        return self.ranks // (self.expert * self.expert_tensor * self.pipeline)


@dataclass(frozen=True)
class RankParameters:
    """Parameters of one rank."""

    dense: int
    """Divided over the data-parallel and context-parallel ranks by the distributed optimizer."""
    experts: int
    """Divided over the expert-data-parallel ranks."""


def stage_layers(shape: ModelShape, stages: int, marked: str | None = None) -> list[str]:
    """Return the layers of each pipeline stage, a letter per layer.

    Args:
        shape: The model.
        stages: Pipeline stages.
        marked: `model.hybrid_layer_pattern`, in which | begins a stage; None, or without marks: stages of equal length,
            the first ones longer by a layer where the layers do not divide.
    """
    main = (marked or "").split("/")[0]
    if main.count("|") == stages - 1 and stages > 1:
        return main.split("|")
    layers, longer = divmod(len(shape.layers), stages)
    ends = [stage * layers + min(stage, longer) for stage in range(stages + 1)]
    return [shape.layers[begin:end] for begin, end in pairwise(ends)]


def rank_parameters(shape: ModelShape, layout: Layout, layers: str, *, first: bool, last: bool) -> RankParameters:
    """Count the parameters of one rank of a pipeline stage.

    Args:
        shape: The model.
        layout: How it is divided.
        layers: Those of the stage, a letter each.
        first: Whether the stage is the first, which has the embedding.
        last: Whether it is the last, which has the output layer and the MTP layers.
    """
    tensor = layout.tensor
    embedding = shape.vocab_size // tensor * shape.hidden_size
    of_layer = {
        "M": shape.mamba_parameters(tensor),
        "*": shape.attention_parameters(tensor),
        "E": shape.moe_parameters(tensor),
    }
    dense = sum(of_layer[letter] for letter in layers) + first * embedding
    moe_layers = layers.count("E")
    if last:
        dense += embedding + shape.hidden_size
        if shape.mtp_depths:
            dense += shape.mtp_projection_parameters(tensor) + of_layer["*"] + of_layer["E"]
            dense += 0 if first else embedding
            moe_layers += 1
    of_experts = shape.n_routed_experts // layout.expert * (shape.expert // layout.expert_tensor)
    return RankParameters(dense, moe_layers * of_experts)
