"""Import Megatron where packages that exist only for CUDA are missing.

Stand-ins replace these packages, but only during the import. Afterwards the packages are absent again, so that nothing
else (such as transformers) takes them for installed:

    mamba_ssm, causal_conv1d    MambaMixer binds its kernels when it is imported; it keeps those of mamba.py.
    transformer_engine(_torch)  Megatron-Bridge's LoRA layers always import it, for a fused path that is not used here;
                                so do recipes of other models in the 0.4 line.
    nvidia_resiliency_ext       Megatron-Bridge's training loop always imports it, for in-process restart.

Megatron-Core has torch code for machines without Transformer Engine. It is imported before the stand-in for
transformer_engine exists, and therefore uses that code.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch

from nemotron.training import bridge
from nemotron.training.torch_layers import mamba
from nemotron.training.torch_layers.replace_attributes import replace_attributes

# What MambaMixer checks before it accepts packed sequences.
MAMBA_SSM_VERSION = "2.2.6"
CAUSAL_CONV1D_VERSION = "1.5.4"

_MAMBA_STAND_INS: dict[str, dict[str, object]] = {
    "mamba_ssm": {"__version__": MAMBA_SSM_VERSION},
    "mamba_ssm.ops": {},
    "mamba_ssm.ops.triton": {},
    "mamba_ssm.ops.triton.layernorm_gated": {"RMSNorm": mamba.GatedRMSNorm},
    "mamba_ssm.ops.triton.ssd_combined": {
        "mamba_split_conv1d_scan_combined": mamba.split_conv1d_scan_combined,
        "mamba_chunk_scan_combined": None,  # inference only
    },
    "causal_conv1d": {"__version__": CAUSAL_CONV1D_VERSION},
}


def leave_uncompiled(function: Callable[..., Any] | None = None, **options: object) -> Callable[..., Any]:
    """Return the function as it is, in place of `torch.compile`.

    Compiling requires a C compiler, which not every machine has, and on the CPU it takes longer than it saves.

    Args:
        function: What to compile; None when `torch.compile(**options)` is used as a decorator.
    """
    return (lambda decorated: decorated) if function is None else function


class _Unused:
    """Stands in for a class that is only named in annotations or as a base."""


_BRIDGE_STAND_INS: dict[str, dict[str, object]] = {
    "transformer_engine": {},
    "transformer_engine.pytorch": {"Linear": _Unused},
    "transformer_engine.pytorch.ops": {"Sequential": _Unused},
    "transformer_engine_torch": {},
    "nvidia_resiliency_ext": {},
    "nvidia_resiliency_ext.inprocess": {"CallWrapper": _Unused},
}

# Megatron-Core modules that look for Transformer Engine when they are imported.
_CORE_MODULES = (
    "megatron.core.models.gpt.gpt_layer_specs",
    "megatron.core.dist_checkpointing",
    "megatron.core.distributed",
    "megatron.core.optimizer",
)


def import_megatron() -> None:
    """Import Megatron-Core and Megatron-Bridge with the stand-ins above.

    Takes 20 to 50 seconds the first time in a process on a small machine.

    Raises:
        RuntimeError: Megatron's Mamba layer has been imported already, without the torch kernels.
        UserError: The installed release lacks a module that is needed.
    """
    if "megatron.core.ssm.mamba_mixer" in sys.modules:
        raise RuntimeError("Activate the torch layers before anything imports Megatron.")
    # It warns that there is no CUDA, even where stderr is redirected.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    with bridge.name_what_is_missing(), replace_attributes(torch, compile=leave_uncompiled):
        with _absent("transformer_engine"), _stand_ins(_MAMBA_STAND_INS):
            for name in (*bridge.installed().hybrid_stack().modules, *_CORE_MODULES):
                importlib.import_module(name)
            _remember_versions()
        with _stand_ins(_BRIDGE_STAND_INS):
            for name in bridge.installed().IMPORTS_CUDA_PACKAGES:
                importlib.import_module(name)


def _remember_versions() -> None:
    """Have Megatron look up the versions of the stand-ins now, and cache them.

    Its forward passes over packs look them up when the stand-ins are gone.
    """
    from megatron.core.utils import get_causal_conv1d_version, get_mamba_version

    get_mamba_version()
    get_causal_conv1d_version()


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Make `import name` fail, as if the package were not installed.

    Where it is installed without CUDA, importing it may crash.
    """
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


@contextmanager
def _stand_ins(modules: dict[str, dict[str, object]]) -> Iterator[None]:
    """Make packages importable that contain only what is listed."""
    before = {name: sys.modules.get(name) for name in modules}
    for name, contents in modules.items():
        module = ModuleType(name, "A stand-in: see nemotron.training.torch_layers.imports.")
        module.__spec__ = ModuleSpec(name, loader=None, is_package=True)
        module.__path__ = []
        vars(module).update(contents)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
