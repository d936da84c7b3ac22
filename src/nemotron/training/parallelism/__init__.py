"""How ranks share the model, and whether it fits into their memory.

Nothing here imports Megatron.
"""
