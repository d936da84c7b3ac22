"""The costly torch layers alone, forward and backward, at the sizes of one pack in Nemotron 3 Super.

    python benchmarks/torch_layers.py [--device cuda] [--tokens 4096]

Experts and Mamba's scan are what Transformer Engine and mamba_ssm have kernels for. docs/explanation/backends.md
has figures.
"""

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from nemotron.training.parallelism.model_shape import SUPER_120B_A12B as SUPER
from nemotron.training.torch_layers.experts import apply_grouped
from nemotron.training.torch_layers.mamba import split_conv1d_scan_combined

CONVERSATIONS = 8


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", type=int, default=4096, help="of a pack")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with torch.device(arguments.device):
        for chunk in (32, 64, 128, 256):
            milliseconds = measure(scan(arguments.tokens, chunk), arguments)
            print(f"Mamba convolution and scan, chunks of {chunk:3}: {milliseconds:8.1f} ms")
        for count in (64, SUPER.n_routed_experts):
            experts, inputs = some_experts(count, arguments.tokens)
            together = measure(lambda e=experts, i=inputs: apply_grouped(e, *i).float().sum().backward(), arguments)
            apart = measure(lambda e=experts, i=inputs: one_by_one(e, *i).float().sum().backward(), arguments)
            print(f"{count:3} experts, {SUPER.num_experts_per_tok} per token: {together:8.1f} ms grouped, "
                  f"{apart:8.1f} ms one by one ({apart / together:.1f}x)")  # fmt: skip


def measure(call: Callable[[], Any], arguments: argparse.Namespace) -> float:
    """Milliseconds per call, the mean of some after two that are not counted."""
    for _ in range(2):
        call()
    wait(arguments.device)
    started = time.perf_counter()
    for _ in range(arguments.rounds):
        call()
    wait(arguments.device)
    return 1000 * (time.perf_counter() - started) / arguments.rounds


def wait(device: str) -> None:
    """For all that was asked of a GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def scan(tokens: int, chunk_size: int) -> Callable[[], Any]:
    """One Mamba layer's convolution and scan over a pack."""
    heads, channels = SUPER.mamba_num_heads, SUPER.conv_width
    projected = torch.randn(1, tokens, SUPER.in_proj_width, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(channels, SUPER.conv_kernel, dtype=torch.bfloat16, requires_grad=True)
    bias = torch.zeros(channels, dtype=torch.bfloat16, requires_grad=True)
    dt_bias, A, D = torch.randn(heads), -torch.rand(heads), torch.ones(heads)
    for parameter in (dt_bias, A, D):
        parameter.requires_grad_()
    seq_idx = (torch.arange(tokens) * CONVERSATIONS // tokens).int()[None]
    sizes: dict[str, Any] = {"headdim": SUPER.mamba_head_dim, "ngroups": SUPER.n_groups}

    def call() -> None:
        y = split_conv1d_scan_combined(projected, weight, bias, dt_bias, A, D, chunk_size, seq_idx=seq_idx, **sizes)
        y.float().sum().backward()

    return call


def some_experts(count: int, tokens: int) -> tuple[Any, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Experts, as `grouped` reads them of a SequentialMLP, with an even share of what a pack sends them."""

    def linear(out: int, into: int) -> SimpleNamespace:
        return SimpleNamespace(weight=(0.02 * torch.randn(out, into)).bfloat16().requires_grad_())

    inner, latent = SUPER.moe_intermediate_size, SUPER.moe_latent_size
    local = [SimpleNamespace(linear_fc1=linear(inner, latent), linear_fc2=linear(latent, inner)) for _ in range(count)]
    experts = SimpleNamespace(local_experts=local, config=SimpleNamespace(activation_func=lambda x: F.relu(x) ** 2))
    rows = tokens * SUPER.num_experts_per_tok
    shares = torch.full((count,), rows // count)
    shares[0] += rows - int(shares.sum())
    hidden = torch.randn(rows, latent, dtype=torch.bfloat16, requires_grad=True)
    return experts, (hidden, shares, torch.rand(rows, requires_grad=True))


def one_by_one(experts: Any, hidden: torch.Tensor, shares: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """Compute one expert after the other, as Megatron's SequentialMLP does."""
    counts = shares.tolist()
    outputs = []
    for expert, rows, weights in zip(experts.local_experts, hidden.split(counts), probs.split(counts), strict=True):
        inner = experts.config.activation_func(F.linear(rows, expert.linear_fc1.weight))
        outputs.append(F.linear((inner * weights.unsqueeze(-1)).to(rows.dtype), expert.linear_fc2.weight))
    return torch.cat(outputs)


if __name__ == "__main__":
    main()
