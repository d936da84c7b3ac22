"""Run Nemotron 3 in Megatron with layers of plain torch.

Architecture, objectives and checkpoints stay the same; Transformer Engine and the Mamba kernels are not needed.

The production path imports nothing from this package. Its modules replace:

    imports.py    packages that exist only for CUDA, while Megatron is being imported
    patches.py    a few functions of Megatron that require CUDA or Transformer Engine
    mamba.py      the mamba_ssm kernels: convolution and scan over packed sequences
    attention.py  Transformer Engine's attention over packed sequences
    experts.py    Transformer Engine's grouped products of the experts
    layers.py     Transformer Engine's RMSNorm and replicated linear layer

spec.py builds the layer spec of the hybrid stack from these layers, and settings.py the config that goes with them.

The layers compute on the device of the model: `run.backend=torch` trains with them on a GPU, `run.backend=cpu` on the
CPU (`nemotron.training.cpu` has what else Megatron needs there). Context parallelism is not available, because
Megatron's own attention has none without Transformer Engine.

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
    """Import Megatron and install the replacements, once per process.

    Call this before anything else imports Megatron. It takes 20 to 50 seconds on a small machine, nearly all of it
    spent in Megatron-Bridge's own imports.

    Raises:
        RuntimeError: Megatron has been imported already.
    """
    from nemotron.training.torch_layers import imports, patches

    imports.import_megatron()
    patches.patch_torch_layers()
    patches.patch_conversion()
    patches.patch_adapters()
    patches.patch_distributed_optimizer()
    patches.patch_training_loop()
