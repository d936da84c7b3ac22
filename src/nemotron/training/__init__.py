"""Training: packed Parquet in, a fine-tuned checkpoint out.

Everything that imports Megatron lives here, and only inside functions: importing this package is cheap.
Read `run.py` first; it calls the other modules in order.
"""
