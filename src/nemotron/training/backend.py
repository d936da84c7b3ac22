"""On what a run computes: Megatron's production stack, or torch layers on a GPU or a CPU."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, Literal

from nemotron.errors import UserError
from nemotron.training.bridge.dataset_helpers import use_built_helpers
from nemotron.training.config import SftConfig

Backend = Literal["production", "torch", "cpu"]

PRODUCTION_PACKAGES = ("transformer_engine", "mamba_ssm")
"""Packages whose kernels the production stack is made of: compiled for a GPU, and part of the NeMo container."""

WEIGHT_GRADIENT_KERNELS = "fused_weight_gradient_mlp_cuda"
"""Apex's extension, without which Megatron-Core's output layer ends a run that is to fuse the accumulation of gradients
(ColumnParallelLinear, core/tensor_parallel/layers.py). Megatron-Bridge takes Transformer Engine for enough."""


def chosen_backend(config: SftConfig) -> Backend:
    """What the run computes on if it runs in this process: `run.backend`, and for `auto` what this machine has."""
    if config.run.backend != "auto":
        return config.run.backend
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return "torch" if lacking() else "production"


def lacking() -> list[str]:
    """Which packages of the production stack are not installed here."""
    return [name for name in PRODUCTION_PACKAGES if find_spec(name) is None]


def check_backend(config: SftConfig) -> None:
    """Refuse a backend that is asked for and that this machine cannot give, and what none but production can do.

    Raises:
        UserError: there is no GPU for it, or no Transformer Engine or Mamba kernels; context parallelism without them.
    """
    if (config.model.get("context_parallel_size") or 1) > 1 and (layers := chosen_backend(config)) != "production":
        raise UserError(
            f"model.context_parallel_size={config.model['context_parallel_size']} takes Transformer Engine's "
            f"attention, which run.backend={layers} does not have.",
            "Leave it at 1, or train in the NeMo container.",
        )
    backend = config.run.backend
    if backend in ("auto", "cpu"):
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"run.backend={backend} computes on a GPU, and torch sees none here.",
            "Use run.backend=cpu, or run.backend=auto, which takes what there is.",
        )
    if backend == "production" and lacking():
        raise UserError(
            f"run.backend=production needs {' and '.join(lacking())}, not installed here.",
            "Train in the NeMo container, which has them, or use run.backend=torch: the same layers in plain torch.",
        )


def backend_notes(config: SftConfig) -> list[str]:
    """What the user should know of a backend that nobody named."""
    if config.run.backend == "auto" and chosen_backend(config) == "torch":
        missing = " and ".join(lacking())
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
    """Inside, Megatron can be imported and runs as `backend` has it."""
    if backend == "production":
        use_built_helpers()
        return contextlib.nullcontext()
    from nemotron.training import cpu, torch_layers

    if backend == "cpu":
        return cpu.backend()
    torch_layers.activate()
    return contextlib.nullcontext()


def adapt(container: Any, backend: Backend) -> None:
    """Make a ConfigContainer one that trains on `backend`, with the packages of this machine."""
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
