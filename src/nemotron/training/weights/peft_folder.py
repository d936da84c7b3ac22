"""Convert adapters to the form that peft applies to transformers' NemotronH.

Megatron-Bridge writes one pair of matrices per layer and per expert. In transformers 5, all experts of a layer share
the parameters `mixer.experts.up_proj` and `down_proj`, which peft adapts as `target_parameters`. Peft refuses adapters
on `out_proj` in models with Mamba layers, because their kernel would ignore them. The merged weight is stored instead,
as one of `modules_to_save`. Adapters of multi-token prediction are omitted, because transformers does not implement it.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_STORED, _LOADED = "base_model.model.backbone.", "base_model.model.model."
_OF_EXPERT = re.compile(r"(.+\.experts)\.(\d+)\.(up_proj|down_proj)\.lora_([AB])\.weight")
WHOLE = "out_proj"


def for_peft(adapters: Mapping[str, Tensor], merged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and pack the adapters that Megatron-Bridge's `save_hf_adapter` writes.

    Args:
        adapters: Name -> A [rank, in] or B [out, rank]; each routed expert has its own.
        merged: `model.layers.N.mixer.out_proj` -> weight with its adapter merged, for each adapted one.
    """
    plain, experts = {}, defaultdict(dict)
    for name, weight in adapters.items():
        if not name.startswith("base_model.model.mtp.") and f".{WHOLE}." not in name:
            renamed = name.replace(_STORED, _LOADED, 1)
            if match := _OF_EXPERT.fullmatch(renamed):
                layer, number, projection, factor = match.groups()
                experts[layer, projection, factor][int(number)] = weight
            else:
                plain[renamed] = weight
    for (layer, projection, factor), weights in experts.items():
        # peft nests the wrappers of two parameters of one module; the first parameter has the inner one.
        is_inner = projection == "up_proj" and (layer, "down_proj", factor) in experts
        stacked = torch.stack([weights[number] for number in sorted(weights)])
        # [experts, rank, in] -> [experts x rank, in]; [experts, out, rank] -> [out, rank x experts]
        packed = stacked.flatten(0, 1) if factor == "A" else stacked.permute(1, 2, 0).flatten(1)
        plain[f"{layer}{'.base_layer' if is_inner else ''}.lora_{factor}.weight"] = packed
    plain |= {f"base_model.model.{module}.weight": weight for module, weight in merged.items()}
    return {name: weight.contiguous() for name, weight in plain.items()}


def adapter_config(
    written: Mapping[str, Any], adapters: Mapping[str, Tensor], merged: Mapping[str, Tensor], *, by_layer: bool
) -> dict[str, Any]:
    """Return the adapter_config.json for the result of `for_peft`.

    Args:
        written: The adapter_config.json of Megatron-Bridge.
        adapters, merged: The arguments of `for_peft`.
        by_layer: Whether only some layers are adapted. Then modules have their full names, else the last part of them.
    """
    modules, parameters = set(), set()
    for name in adapters:
        if name.startswith("base_model.model.mtp.") or f".{WHOLE}." in name:
            continue
        module = name.replace(_STORED, _LOADED, 1).removeprefix("base_model.model.").partition(".lora_")[0]
        if match := _OF_EXPERT.fullmatch(f"{module}.lora_A.weight"):
            layer, _, projection, _ = match.groups()
            parameters.add(f"{layer}.{projection}" if by_layer else f"mixer.experts.{projection}")
        else:
            modules.add(module if by_layer else module.rpartition(".")[2])
    return {
        **written,
        "target_modules": sorted(modules),
        "target_parameters": sorted(parameters, reverse=True) or None,
        "modules_to_save": (sorted(merged) if by_layer else [WHOLE]) if merged else None,
        "lora_dropout": 0.0,
    }
