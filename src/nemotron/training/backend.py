"""On what a run computes: Megatron's production stack, or torch layers on a CPU."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from nemotron.training.config import SftConfig


def uses_cpu_backend(config: SftConfig) -> bool:
    """Whether the run needs the torch layers: asked for, or no CUDA device and nothing asked."""
    if config.run.backend != "auto":
        return config.run.backend == "cpu"
    import torch

    return not torch.cuda.is_available()


@contextlib.contextmanager
def backend(config: SftConfig) -> Iterator[Callable[[Any], None]]:
    """Make Megatron importable and runnable here; yields what adapts a ConfigContainer to the backend."""
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", _free_port())
    if not uses_cpu_backend(config):
        yield lambda container: None
        return
    from nemotron.training import cpu

    with cpu.backend():
        yield cpu.apply


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
