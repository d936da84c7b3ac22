"""Provide the layer spec under its older name, which CPU checkpoints have."""

from nemotron.training.torch_layers.spec import torch_hybrid_stack_spec

__all__ = ["torch_hybrid_stack_spec"]
