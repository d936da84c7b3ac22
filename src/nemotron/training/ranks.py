"""Find out which process of a run this is, from torchrun or srun."""

import os


def count_ranks() -> int:
    """Return the number of processes of the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Tell whether this process writes what a run writes once.

    Its config, its report, its artifacts.
    """
    return os.environ.get("RANK", "0") == "0"


def is_last() -> bool:
    """Tell whether this process has the losses.

    The last one does, which is on the last pipeline stage.
    """
    return int(os.environ.get("RANK", "0")) == count_ranks() - 1


def is_first_here() -> bool:
    """Tell whether this process does what is done once per node."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
