"""Run Megatron-Bridge's own training loop without CUDA: torch layers on the CPU.

    device.py     device="cuda" and torch.cuda, which are hard-coded in Megatron
    settings.py   the config that goes with it: float32, gloo

The layers themselves are those of `nemotron.training.torch_layers`. Not available: context parallelism, and all-to-all
expert dispatch (gloo has none; the all-gather dispatcher is used).

    from nemotron.training import cpu

    with cpu.backend():                       # imports Megatron; inside, "cuda" means the CPU
        from megatron.bridge.training.finetune import finetune

        config = ...                          # a Megatron-Bridge ConfigContainer
        cpu.apply(config)
        finetune(config, forward_step)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nemotron.training import torch_layers
from nemotron.training.cpu.device import device_mode
from nemotron.training.cpu.settings import apply, use_cpu

__all__ = ["apply", "backend", "device_mode", "is_needed", "use_cpu"]


def is_needed() -> bool:
    """Tell whether this machine has no CUDA device."""
    return not torch.cuda.is_available()


@contextmanager
def backend() -> Iterator[None]:
    """Use the torch layers and `device_mode` inside the `with` block.

    Everything that runs Megatron on a CPU needs this. Torch uses one thread per process unless OMP_NUM_THREADS is set:
    a tiny model gains little from more, results do not depend on the machine, and on shared cores, threads that wait
    for each other at every small operation were measured to be ten times slower than one.
    """
    torch_layers.activate()
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        with device_mode():
            yield
    finally:
        torch.set_num_threads(threads)
