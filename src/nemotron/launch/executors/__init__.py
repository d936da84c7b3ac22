"""What NeMo-Run, or docker, runs a stage with.

One module per kind of executor.
"""
