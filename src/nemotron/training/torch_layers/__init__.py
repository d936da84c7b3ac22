"""Nemotron 3's layers in plain torch, inside Megatron.

The same architecture, objectives and checkpoints without Transformer Engine and the Mamba kernels.

Nothing here is imported on the production path. What is replaced, and why:

    imports.py    packages that exist only for CUDA, while Megatron is being imported
    patches.py    a few functions of Megatron that insist on CUDA or Transformer Engine
    replaced.py   attributes of a module, replaced for a while
    mamba.py      the mamba_ssm kernels: convolution and scan over packed sequences
    attention.py  Transformer Engine's attention over packed sequences
    experts.py    Transformer Engine's grouped products of the experts
    layers.py     Transformer Engine's RMSNorm and replicated linear layer
    spec.py       the layer spec of the hybrid stack, made of these
    settings.py   the config that goes with them

They compute on whatever device the model is on: `run.backend=torch` trains with them on a GPU, `run.backend=cpu` on the
CPU (`nemotron.training.cpu` has what Megatron needs beyond the layers to run there). Not available: context parallelism
(Megatron's own attention has none without Transformer Engine).

    from nemotron.training import torch_layers

    torch_layers.activate()                   # imports Megatron
    config = ...                              # a Megatron-Bridge ConfigContainer
    torch_layers.apply(config)
    finetune(config, forward_step)
"""

from functools import cache

from nemotron.training.torch_layers.settings import apply, provider_fields, use_torch_layers

__all__ = ["activate", "apply", "provider_fields", "use_torch_layers"]


@cache
def activate() -> None:
    """Import Megatron and put the replacements in place, once.

    Before anything else imports it.

    Takes 20 to 50 seconds on a small machine, nearly all of it Megatron-Bridge's own imports.

    Raises:
        RuntimeError: Megatron was imported before.
    """
    from nemotron.training.torch_layers import imports, patches

    imports.import_megatron()
    patches.patch_torch_layers()
    patches.patch_conversion()
    patches.patch_adapters()
    patches.patch_distributed_optimizer()
    patches.patch_training_loop()
