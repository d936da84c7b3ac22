"""What is on disk of a run and of a model. Nothing here imports Megatron."""
