"""Choose what a run computes on: the production stack, torch layers, or a CPU."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

from nemotron.training.bridge.dataset_helpers import use_built_helpers

BackendName = Literal["production", "torch", "cpu"]

PRODUCTION_PACKAGES = ("transformer_engine", "mamba_ssm")
"""Packages with the kernels of the production stack. They are compiled for a GPU, and part of the NeMo container."""

WEIGHT_GRADIENT_KERNELS = "fused_weight_gradient_mlp_cuda"
"""Apex's extension. Without it, Megatron-Core's output layer fails if the accumulation of gradients is fused
(ColumnParallelLinear, core/tensor_parallel/layers.py); Megatron-Bridge only checks for Transformer Engine."""


@dataclass(frozen=True)
class Backend:
    """What a run in this process computes on, chosen once."""

    name: BackendName
    gpu: bool
    """Whether this machine has a GPU."""
    missing: tuple[str, ...]
    """Packages of the production stack that are not installed here."""
    notes: tuple[str, ...] = ()
    """What a user should know about the choice of `auto`, a line each."""


def choose_backend(asked: Literal["auto"] | BackendName, gpu: bool | None = None) -> Backend:
    """Choose what a run in this process computes on.

    Args:
        asked: The setting `run.backend`; `auto` takes what this machine has.
        gpu: Whether this machine has a GPU; None asks torch.
    """
    has_gpu = _sees_gpu() if gpu is None else gpu
    missing = tuple(missing_packages())
    if asked != "auto":
        return Backend(asked, has_gpu, missing)
    if not has_gpu:
        return Backend("cpu", has_gpu, missing)
    if not missing:
        return Backend("production", has_gpu, missing)
    absent = " and ".join(missing)
    note = f"Training uses torch layers, slower than the production stack: {absent} not installed here."
    return Backend("torch", has_gpu, missing, (note,))


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def missing_packages() -> list[str]:
    """List the packages of the production stack that are not installed here."""
    return [name for name in PRODUCTION_PACKAGES if find_spec(name) is None]


@contextlib.contextmanager
def use_backend(backend: BackendName) -> Iterator[Callable[[Any], None]]:
    """Make Megatron importable and runnable on this machine.

    Yields a function that adapts a ConfigContainer to the backend.
    """
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", _free_port())
    with importable(backend):
        yield partial(adapt, backend=backend)


def importable(backend: BackendName) -> contextlib.AbstractContextManager[None]:
    """Let Megatron be imported and run with a backend, inside the `with` block."""
    if backend == "production":
        use_built_helpers()
        return contextlib.nullcontext()
    from nemotron.training import cpu, torch_layers

    if backend == "cpu":
        return cpu.backend()
    torch_layers.activate()
    return contextlib.nullcontext()


def adapt(container: Any, backend: BackendName) -> None:
    """Adapt a ConfigContainer to a backend and to the packages of this machine."""
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
