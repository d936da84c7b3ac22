"""Weights by name: every process can make the same ones, or its own part of them, and they exercise every layer.

Freshly initialised weights would not do: norms at one, expert biases at zero and layers close to the identity hide
mistakes.
"""

import math
import zlib

import torch


def make_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The whole, unsharded tensor that Megatron checkpoints call `name`: float32, a function of the name and shape."""
    random = torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=random)

    if name.endswith("A_log"):
        return uniform(1, 16).log()
    if name.endswith("dt_bias"):
        return uniform(-4, 0)
    if "norm" in name or name.endswith(".D"):
        return uniform(0.5, 1.5)
    if ".conv1d." in name:
        return uniform(-0.5, 0.5)
    if name.endswith("expert_bias"):
        return uniform(-0.1, 0.1)
    normal = torch.randn(shape, generator=random)
    if ".adapter.linear_out." in name:  # an update smaller than the weight, as training makes it
        return 0.2 * normal / math.sqrt(shape[-1])
    return normal if name.startswith("embedding.") else normal / math.sqrt(shape[-1])
