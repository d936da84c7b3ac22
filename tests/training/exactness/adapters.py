"""LoRA by its formula, W + alpha/dim B A, on weights by their names in Megatron checkpoints.

An adapter has the name of the layer it belongs to: A is `<layer>.adapter.linear_in.weight`, B is
`<layer>.adapter.linear_out.weight`. Of Mamba's input projection the rows are stored in five parts, and so are those of
B, which have one A.
"""

import re
from collections import defaultdict

import torch
from torch import Tensor

from nemotron.config import load_config
from nemotron.training.config import SftConfig

A, B = ".adapter.linear_in.weight", ".adapter.linear_out.weight"

_PLAIN = {
    "mixer.out_proj.weight": "out_proj",
    "self_attention.linear_proj.weight": "o_proj",
    "mlp.shared_experts.linear_fc1.weight": "shared_experts.up_proj",
    "mlp.shared_experts.linear_fc2.weight": "shared_experts.down_proj",
}
"""Modules whose rows are the same in both."""
_MAMBA_ROWS = ("z", "x", "B", "C", "dt")


def scale() -> float:
    """By which the adapters of `config/tiny_lora.yaml` are multiplied."""
    peft = load_config("tiny_lora", [], schema=SftConfig).config.peft
    assert peft is not None
    return peft.alpha / peft.dim


def updates(adapters: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is added to each adapted weight. Experts are the first dimension of theirs, [experts, out, in]."""
    found = {}
    for name, factor in adapters.items():
        if B in name:
            layer, part = name.split(B)
            found[f"{layer}.weight{part}"] = scale() * (factor @ adapters[layer + A])
    return found


def adapted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that the model computes with, of weights with adapters among them."""
    plain = {name: weight for name, weight in weights.items() if ".adapter." not in name}
    adapters = {name: weight for name, weight in weights.items() if ".adapter." in name}
    return {**plain, **{name: plain[name] + update for name, update in updates(adapters).items()}}


def exported_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under the names of Hugging Face folders, divided as there; by hand, not by the bridge."""
    found, mamba = {}, defaultdict(dict)
    for name, weight in weights.items():
        layer, _, rest = re.sub(r"^mtp\.layers\.0\.mtp_model_layer", "mtp", name).partition(".layers.")
        index, _, module = rest.partition(".")
        prefix = f"{'mtp' if layer == 'mtp' else 'backbone'}.layers.{index}.mixer"
        if "in_proj" in module:
            mamba[f"{prefix}.in_proj.weight"][module.rpartition(".")[2]] = weight
        elif "linear_qkv" in module:
            # For each group of 2: two query heads, a key head and a value head of 32.
            grouped = weight.unflatten(0, (2, 4, 32))
            parts = {"q": grouped[:, :2], "k": grouped[:, 2], "v": grouped[:, 3]}
            found |= {f"{prefix}.{part}_proj.weight": rows.reshape(-1, rows.shape[-1]) for part, rows in parts.items()}
        elif ".experts.experts." in module:
            projection = "up_proj" if "fc1" in module else "down_proj"
            found |= {f"{prefix}.experts.{n}.{projection}.weight": each for n, each in enumerate(weight)}
        else:
            found[f"{prefix}.{_PLAIN[module]}.weight"] = weight
    return found | {name: torch.cat([parts[part] for part in _MAMBA_ROWS]) for name, parts in mamba.items()}
