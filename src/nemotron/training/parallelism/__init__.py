"""Compute how ranks share the model, and whether it fits in memory.

Nothing here imports Megatron.
"""
