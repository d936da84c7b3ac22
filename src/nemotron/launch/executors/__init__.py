"""Make what NeMo-Run, or docker, runs a stage with: one module per kind of executor."""
