"""Importing Megatron where the packages that exist only for CUDA are missing.

Packages are stood in for, only while Megatron is being imported; afterwards they are absent again, so that
nothing else (transformers, say) takes them for installed:

    mamba_ssm, causal_conv1d    MambaMixer binds its kernels at import; it gets the torch ones of mamba.py for good.
    transformer_engine(_torch)  Megatron-Bridge's LoRA layers import it regardless, for a fused path not used here; so
                                do recipes of other models in the 0.4 line.
    nvidia_resiliency_ext       Megatron-Bridge's training loop imports it regardless, for in-process restart.

Megatron-Core, which has torch code for the absence of Transformer Engine, is imported before the stand-in for
transformer_engine exists and so concludes, rightly, that there is none.
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
from nemotron.training.torch_layers.replaced import replaced

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


def not_compiled(function: Callable[..., Any] | None = None, **options: object) -> Callable[..., Any]:
    """In place of `torch.compile`, plain or with options.

    Compiling takes a C compiler, which not every machine has, GPU or not; and on the CPU longer than it saves.
    """
    return (lambda decorated: decorated) if function is None else function


class _Unused:
    """Stands for a class that is named in an annotation or a base, and never made."""


_BRIDGE_STAND_INS: dict[str, dict[str, object]] = {
    "transformer_engine": {},
    "transformer_engine.pytorch": {"Linear": _Unused},
    "transformer_engine.pytorch.ops": {"Sequential": _Unused},
    "transformer_engine_torch": {},
    "nvidia_resiliency_ext": {},
    "nvidia_resiliency_ext.inprocess": {"CallWrapper": _Unused},
}

# Megatron-Core modules that look for Transformer Engine when they are imported, and import one another widely.
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
        RuntimeError: Megatron's Mamba layer was imported before, without the torch kernels.
        UserError: The installed release lacks something.
    """
    if "megatron.core.ssm.mamba_mixer" in sys.modules:
        raise RuntimeError("Activate the torch layers before anything imports Megatron.")
    # It warns that there is no CUDA, past whatever stderr is redirected to.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    with bridge.name_what_is_missing(), replaced(torch, compile=not_compiled):
        with _absent("transformer_engine"), _stand_ins(_MAMBA_STAND_INS):
            for name in (*bridge.installed().hybrid_stack().modules, *_CORE_MODULES):
                importlib.import_module(name)
            _remember_versions()
        with _stand_ins(_BRIDGE_STAND_INS):
            for name in bridge.installed().IMPORTS_CUDA_PACKAGES:
                importlib.import_module(name)


def _remember_versions() -> None:
    """Have Megatron ask for these versions now, and cache them.

    Its packed forward passes ask, without the stand-ins.
    """
    from megatron.core.utils import get_causal_conv1d_version, get_mamba_version

    get_mamba_version()
    get_causal_conv1d_version()


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Make `import name` fail, as where it is not installed.

    (Where it is, without CUDA, it may do worse than fail.)
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
    """Packages that can be imported and hold nothing but what is listed."""
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
