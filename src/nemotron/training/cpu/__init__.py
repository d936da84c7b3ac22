"""Megatron-Bridge's own training loop, without CUDA: the same architecture, objectives and checkpoints in plain torch.

Nothing here is imported on the production path. What is replaced, and why:

    imports.py    packages that exist only for CUDA, while Megatron is being imported
    device.py     device="cuda" and torch.cuda, which Megatron names outright
    patches.py    a few functions of Megatron that insist on CUDA or Transformer Engine
    mamba.py      the mamba_ssm kernels: convolution and scan over packed sequences
    attention.py  Transformer Engine's attention over packed sequences
    layers.py     Transformer Engine's RMSNorm and replicated linear layer
    spec.py       the layer spec of the hybrid stack, made of these
    settings.py   the config that goes with them: float32, gloo, no fused kernels

mamba.py, attention.py, layers.py and spec.py ask nothing of the device; they run on a GPU as well. Not available:
context parallelism (Megatron's own attention has none without Transformer Engine) and all-to-all expert dispatch
(gloo has none; the all-gather dispatcher is used).

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
from functools import cache

import torch

from nemotron.training.cpu.device import device_mode
from nemotron.training.cpu.settings import apply, torch_layers, use_cpu, use_float32, use_torch_layers

__all__ = [
    "activate",
    "apply",
    "backend",
    "device_mode",
    "is_needed",
    "torch_layers",
    "use_cpu",
    "use_float32",
    "use_torch_layers",
]


def is_needed() -> bool:
    """Whether this machine has no CUDA device."""
    return not torch.cuda.is_available()


@cache
def activate() -> None:
    """Import Megatron and put the replacements in place, once; before anything else imports it.

    Takes 20 to 50 seconds on a small machine, nearly all of it Megatron-Bridge's own imports.

    Raises:
        RuntimeError: Megatron was imported before.
    """
    from nemotron.training.cpu import imports, patches

    imports.import_megatron()
    patches.patch_torch_layers()
    patches.patch_conversion()
    patches.patch_adapters()
    patches.patch_training_loop()


@contextmanager
def backend() -> Iterator[None]:
    """`activate`, then `device_mode` for the duration: everything that runs Megatron on CPU goes inside.

    Torch computes in one thread per process unless OMP_NUM_THREADS says otherwise. A tiny model gains little from
    more, results no longer depend on the machine, and where other work shares the cores, threads that wait for each
    other at every small operation were measured to be ten times slower than one.
    """
    activate()
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        with device_mode():
            yield
    finally:
        torch.set_num_threads(threads)
