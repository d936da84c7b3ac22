"""The tiny model, written a second time: plain torch, one conversation at a time, nothing packed, nothing sharded.

Independent of Megatron and of this package. Mamba is the recurrence itself, attention a masked softmax, the mixture of
experts a loop over experts. Weights are named as in Megatron checkpoints, so gradients come out under those names.
Sizes come from the Hugging Face config.json. Run in float64 it is the truth that float32 results are measured against.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass
class Routing:
    """What one MoE layer decided for one conversation; the auxiliary loss is made of these."""

    scores: Tensor
    """Sigmoid of the router's logits, normalised over experts, [tokens, experts]."""
    top: Tensor
    """1 where a score is among the token's highest, without the expert bias, [tokens, experts]."""


@dataclass
class Output:
    """The losses of one conversation."""

    losses: Tensor
    """[1 + depths, tokens]. Row 0: cross entropy of the next token. Row d: MTP depth d, which predicts d tokens
    further; 0 where that lies after the end of the conversation."""
    routings: list[Routing] = field(default_factory=list)
    """One for each time that an MoE layer ran; the MTP layer runs once per depth."""
    margin: float = float("inf")
    """The smallest gap between a chosen expert and the next best. Rounding must not reach it."""


class ReferenceModel:
    """Forward passes with given weights, which may require gradients."""

    def __init__(self, config_file: Path, weights: Weights) -> None:
        self.config: dict[str, Any] = json.loads(config_file.read_text())
        self.weights = weights

    def __call__(self, ids: list[int]) -> Output:
        """Losses of predicting `ids[1:]` from `ids[:-1]`."""
        output = Output(torch.empty(0))
        inputs, labels = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
        x = self.weights["embedding.word_embeddings.weight"][inputs]
        for index, kind in enumerate(self.config["hybrid_override_pattern"]):
            x = self._layer(kind, f"decoder.layers.{index}.", x, output)
        hidden = self._norm(x, "decoder.final_norm.weight")
        rows = [self._cross_entropy(hidden, labels)]
        for depth in range(1, self.config["num_nextn_predict_layers"] + 1):
            hidden = self._mtp_layer(hidden, _ahead(inputs, depth), output)
            rows.append(self._cross_entropy(hidden[: max(len(labels) - depth, 0)], labels[depth:], len(labels)))
        output.losses = torch.stack(rows)
        return output

    def _mtp_layer(self, hidden: Tensor, next_inputs: Tensor, output: Output) -> Tensor:
        """One depth: the hidden state of a position joined with the embedding of the token to come."""
        embedding = self.weights["embedding.word_embeddings.weight"][next_inputs]
        prefix = "mtp.layers.0."
        both = [self._norm(embedding, prefix + "enorm.weight"), self._norm(hidden, prefix + "hnorm.weight")]
        x = torch.cat(both, dim=-1) @ self.weights[prefix + "eh_proj.weight"].T
        for index, kind in enumerate(self.config["mtp_hybrid_override_pattern"]):
            x = self._layer(kind, f"{prefix}mtp_model_layer.layers.{index}.", x, output)
        return self._norm(x, prefix + "final_layernorm.weight")

    def _cross_entropy(self, hidden: Tensor, labels: Tensor, length: int | None = None) -> Tensor:
        losses = F.cross_entropy(hidden @ self.weights["output_layer.weight"].T, labels, reduction="none")
        return F.pad(losses, (0, (length or len(labels)) - len(labels)))

    def _layer(self, kind: str, prefix: str, x: Tensor, output: Output) -> Tensor:
        if kind == "M":
            return x + self._mamba(self._norm(x, prefix + "mixer.in_proj.layer_norm_weight"), prefix + "mixer.")
        if kind == "*":
            name = prefix + "self_attention."
            return x + self._attention(self._norm(x, name + "linear_qkv.layer_norm_weight"), name)
        return x + self._moe(self._norm(x, prefix + "pre_mlp_layernorm.weight"), prefix + "mlp.", output)

    def _norm(self, x: Tensor, name: str, groups: int = 1) -> Tensor:
        grouped = x.unflatten(-1, (groups, -1))
        scaled = grouped / (grouped.square().mean(-1, keepdim=True) + self.config["layer_norm_epsilon"]).sqrt()
        return scaled.flatten(-2) * self.weights[name]

    def _mamba(self, x: Tensor, prefix: str) -> Tensor:
        """Mamba-2, token by token:  s_t = exp(dt_t A) s_(t-1) + dt_t x_t B_t^T,  y_t = s_t C_t + D x_t."""
        w, heads, groups = self.weights, self.config["mamba_num_heads"], self.config["n_groups"]
        z, u, b, c, dt = (x @ w[f"{prefix}in_proj.weight.{part}"].T for part in ("z", "x", "B", "C", "dt"))
        u, b, c = (F.silu(self._convolution(t, prefix, part)) for t, part in ((u, "x"), (b, "B"), (c, "C")))
        dt = F.softplus(dt + w[prefix + "dt_bias"])
        decay = torch.exp(-dt * w[prefix + "A_log"].exp())
        u = u.unflatten(-1, (heads, -1))
        # Every head of a group shares its B and C.
        b, c = (t.unflatten(-1, (groups, -1)).repeat_interleave(heads // groups, dim=1) for t in (b, c))
        added = torch.einsum("th,thp,thn->thpn", dt, u, b)
        state, outputs = torch.zeros_like(added[0]), []
        for t in range(len(x)):
            state = decay[t, :, None, None] * state + added[t]
            outputs.append(torch.einsum("hpn,hn->hp", state, c[t]))
        y = torch.stack(outputs) + w[prefix + "D"][:, None] * u
        return self._norm(y.flatten(1) * F.silu(z), prefix + "norm.weight", groups) @ w[prefix + "out_proj.weight"].T

    def _convolution(self, x: Tensor, prefix: str, part: str) -> Tensor:
        """Depthwise over a token and the ones before it."""
        kernel, bias = (self.weights[f"{prefix}conv1d.{name}.{part}"] for name in ("weight", "bias"))
        width = kernel.shape[-1]
        padded = F.pad(x, (0, 0, width - 1, 0))
        return bias + sum(padded[back : back + len(x)] * kernel[:, 0, back] for back in range(width))

    def _attention(self, x: Tensor, prefix: str) -> Tensor:
        """Causal, grouped-query, without position embeddings."""
        size, groups = self.config["head_dim"], self.config["num_key_value_heads"]
        # For each group: its query heads, then one key head and one value head.
        qkv = (x @ self.weights[prefix + "linear_qkv.weight"].T).unflatten(-1, (groups, -1, size))
        query, key, value = qkv[:, :, :-2], qkv[:, :, -2], qkv[:, :, -1]
        scores = torch.einsum("igrd,jgd->grij", query, key) / size**0.5
        future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        probabilities = scores.masked_fill(future, -torch.inf).softmax(-1)
        attended = torch.einsum("grij,jgd->igrd", probabilities, value)
        return attended.flatten(1) @ self.weights[prefix + "linear_proj.weight"].T

    def _moe(self, x: Tensor, prefix: str, output: Output) -> Tensor:
        """Latent mixture of experts with a shared expert; experts are chosen by score plus bias, weighed by score."""
        w, chosen_experts = self.weights, self.config["num_experts_per_tok"]
        scores = torch.sigmoid(x @ w[prefix + "router.weight"].T)
        ranked, experts = (scores + w[prefix + "router.expert_bias"]).sort(descending=True)
        top_plain = scores.topk(chosen_experts + 1)
        for values in (ranked, top_plain.values):
            gap = values[:, chosen_experts - 1] - values[:, chosen_experts]
            output.margin = min(output.margin, gap.min().item())
        normalised = scores / scores.sum(-1, keepdim=True)
        top = torch.zeros_like(scores).scatter(1, top_plain.indices[:, :-1], 1.0)
        output.routings.append(Routing(normalised, top))

        chosen = torch.zeros_like(scores).scatter(1, experts[:, :chosen_experts], 1.0) * scores
        share = chosen / chosen.sum(-1, keepdim=True) * self.config["routed_scaling_factor"]
        latent = x @ w[prefix + "fc1_latent_proj.weight"].T
        up, down = (w[f"{prefix}experts.experts.linear_{name}.weight"] for name in ("fc1", "fc2"))
        mixed = torch.zeros_like(latent)
        for expert in range(len(up)):
            mixed = mixed + share[:, expert, None] * (_relu2(latent @ up[expert].T) @ down[expert].T)
        shared = _relu2(x @ w[prefix + "shared_experts.linear_fc1.weight"].T)
        return (
            mixed @ w[prefix + "fc2_latent_proj.weight"].T + shared @ w[prefix + "shared_experts.linear_fc2.weight"].T
        )


def _relu2(x: Tensor) -> Tensor:
    return F.relu(x).square()


def _ahead(inputs: Tensor, depth: int) -> Tensor:
    """The token `depth` positions on; token 0 after the end, as Megatron's roll leaves it."""
    return F.pad(inputs[depth:], (0, min(depth, len(inputs))))
