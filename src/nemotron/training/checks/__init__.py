"""Every refusal before a run. Nothing here imports Megatron."""
