"""Run a stage with NeMo-Run or docker, one module per kind of executor."""
