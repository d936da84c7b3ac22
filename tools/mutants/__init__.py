"""Change the code in one place at a time, and see whether a test notices.

    uv run python -m tools.mutants src/nemotron/data_prep/packing
    uv run python -m tools.mutants src/nemotron/training/objective/loss.py --sample 50

Every change is tried against the quick tests of the file's own room (`tests/` mirrors `src/nemotron`), in a process
that is forked when they are collected. What no test notices is listed: each such line wants a test, or less code; a few
changes change nothing. Only functions are changed, not constants and tables of modules.
"""
