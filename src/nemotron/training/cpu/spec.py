"""The layer spec by its older name, which checkpoints of the CPU backend have."""

from nemotron.training.torch_layers.spec import torch_hybrid_stack_spec

__all__ = ["torch_hybrid_stack_spec"]
