"""The layer spec by the name that checkpoints of the CPU backend had it under, before it served GPUs as well."""

from nemotron.training.torch_layers.spec import torch_hybrid_stack_spec

__all__ = ["torch_hybrid_stack_spec"]
