"""On what a run computes: Megatron's production stack, or torch layers on a GPU or a CPU."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, Literal

from nemotron.training.bridge.dataset_helpers import use_built_helpers
from nemotron.training.config import SftConfig

Backend = Literal["production", "torch", "cpu"]

PRODUCTION_PACKAGES = ("transformer_engine", "mamba_ssm")
"""Packages whose kernels the production stack is made of: compiled for a GPU, and part of the NeMo container."""

WEIGHT_GRADIENT_KERNELS = "fused_weight_gradient_mlp_cuda"
"""Apex's extension, without which Megatron-Core's output layer ends a run that is to fuse the accumulation of gradients
(ColumnParallelLinear, core/tensor_parallel/layers.py). Megatron-Bridge takes Transformer Engine for enough."""


def chosen_backend(config: SftConfig, gpu: bool | None = None) -> Backend:
    """Choose what a run in this process computes on: `run.backend`, and for `auto` what this machine has.

    Args:
        config: the training config.
        gpu: whether this machine has a GPU; None asks torch.
    """
    if config.run.backend != "auto":
        return config.run.backend
    if not (sees_gpu() if gpu is None else gpu):
        return "cpu"
    return "torch" if missing_packages() else "production"


def sees_gpu() -> bool:
    """Tell whether torch sees a CUDA device on this machine."""
    import torch

    return torch.cuda.is_available()


def missing_packages() -> list[str]:
    """List the packages of the production stack that are not installed here."""
    return [name for name in PRODUCTION_PACKAGES if find_spec(name) is None]


def describe_backend(config: SftConfig) -> list[str]:
    """Say what a user should know of a backend that `auto` chose, a line each."""
    if config.run.backend == "auto" and chosen_backend(config) == "torch":
        missing = " and ".join(missing_packages())
        return [f"Training uses torch layers, slower than the production stack: {missing} not installed here."]
    return []


@contextlib.contextmanager
def backend(config: SftConfig) -> Iterator[Callable[[Any], None]]:
    """Make Megatron importable and runnable here; yields what adapts a ConfigContainer to the backend."""
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", _free_port())
    chosen = chosen_backend(config)
    with importable(chosen):
        yield lambda container: adapt(container, chosen)


def importable(backend: Backend) -> contextlib.AbstractContextManager[None]:
    """Let Megatron be imported inside, and run as `backend` has it."""
    if backend == "production":
        use_built_helpers()
        return contextlib.nullcontext()
    from nemotron.training import cpu, torch_layers

    if backend == "cpu":
        return cpu.backend()
    torch_layers.activate()
    return contextlib.nullcontext()


def adapt(container: Any, backend: Backend) -> None:
    """Make a ConfigContainer train on `backend`, with the packages of this machine."""
    if backend == "production":
        if find_spec(WEIGHT_GRADIENT_KERNELS) is None:
            container.model.gradient_accumulation_fusion = False
        return
    from nemotron.training import cpu, torch_layers

    (cpu if backend == "cpu" else torch_layers).apply(container)


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
