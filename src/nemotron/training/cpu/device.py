"""Run code written for "cuda" on the CPU.

Megatron hard-codes its device, `torch.zeros(..., device="cuda")`, `tensor.cuda()`, `torch.cuda.current_device()`,
in several hundred places. `device_mode` sends those to the CPU: a TorchFunctionMode rewrites the device of each torch
call, and the functions of `torch.cuda` that Megatron's training loop calls answer for a machine with one slow device.
The CPU's random generator replaces the GPU's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nemotron.training.torch_layers.imports import leave_uncompiled
from nemotron.training.torch_layers.replace_attributes import replace_attributes

CPU = torch.device("cpu")


class CudaToCpu(TorchFunctionMode):
    """Passes "cpu" to every torch function that is called with "cuda"."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            # Megatron's optimizer compares this name with 'torch.cuda.FloatTensor'.
            return func(*args).replace("torch.", "torch.cuda.")
        if _is_cuda(kwargs.get("device")):
            kwargs = {**kwargs, "device": CPU}
        if func is torch.Tensor.to:
            args = (args[0], *(CPU if _is_cuda(argument) else argument for argument in args[1:]))
        return func(*args, **kwargs)


def _is_cuda(device: object) -> bool:
    if isinstance(device, str):
        return device.startswith("cuda")
    return isinstance(device, torch.device) and device.type == "cuda"


class _Stream:
    """A CUDA stream or event on which everything has already happened in order."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def wait_stream(self, stream: object) -> None: ...
    def wait_event(self, event: object) -> None: ...
    def record(self, stream: object = None) -> None: ...
    def synchronize(self) -> None: ...

    def record_event(self, event: object = None) -> "_Stream":
        return self


def _nothing(*args: object, **kwargs: object) -> None:
    return None


def _zero(*args: object, **kwargs: object) -> int:
    return 0


def _get_rng_state(*args: object, **kwargs: object) -> torch.Tensor:
    return torch.get_rng_state()


def _set_rng_state(state: torch.Tensor, *args: object, **kwargs: object) -> None:
    torch.set_rng_state(state)


_TORCH_CUDA: dict[str, object] = {
    "current_device": lambda: CPU,
    "device_count": lambda: 1,
    "set_device": _nothing,
    "get_device_capability": lambda *_: (8, 0),
    "get_device_properties": lambda *_: SimpleNamespace(
        name="cpu", major=8, minor=0, multi_processor_count=1, total_memory=1 << 33
    ),
    "synchronize": _nothing,
    "ipc_collect": _nothing,
    "Stream": _Stream,
    "Event": _Stream,
    "current_stream": _Stream,
    "stream": lambda stream: nullcontext(),
    "memory_allocated": _zero,
    "max_memory_allocated": _zero,
    "memory_reserved": _zero,
    "max_memory_reserved": _zero,
    "memory_stats": lambda *_: {},
    "manual_seed": torch.manual_seed,
    "get_rng_state": _get_rng_state,
    "set_rng_state": _set_rng_state,
}


@contextmanager
def device_mode() -> Iterator[None]:
    """Let "cuda" mean the CPU inside the `with` block, which may be nested.

    This affects tensors of this thread, and `torch.cuda` everywhere. `torch.cuda.is_available()` still tells the truth.
    """
    from megatron.core.tensor_parallel import random as megatron_random

    random_state = {"_get_cuda_rng_state": _get_rng_state, "_set_cuda_rng_state": _set_rng_state}
    with (
        replace_attributes(torch.cuda, **_TORCH_CUDA),
        replace_attributes(megatron_random, **random_state),
        replace_attributes(torch, compile=leave_uncompiled),
        CudaToCpu(),
    ):
        yield
