"""Read what is on disk of a run and of a model, without importing Megatron."""
