"""Refuse parallel sizes that cannot divide the model, a pack, a batch or the ranks."""

from collections.abc import Iterator

from nemotron.errors import Problem
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.configured import parallel_sizes, shape_in
from nemotron.training.parallelism.divisibility import find_faults, find_pack_fault, find_rank_faults


def check_parallel_sizes(config: SftConfig, pack_size: int | None, ranks: int | None) -> Iterator[Problem]:
    """Yield a problem for each size that cannot divide what it has to (parallelism/divisibility.py has the rules).

    Args:
        pack_size: of the data, in tokens; None where it is not known.
        ranks: processes in all; None where it is not known.
    """
    sizes, shape = parallel_sizes(config), shape_in(config)
    if shape is not None:
        yield from find_faults(config.model, shape, sizes, pack_size)
    if pack_size is not None:
        yield from find_pack_fault(sizes["context"], pack_size)
    if ranks is not None:
        yield from find_rank_faults(sizes, ranks, config.train.get("global_batch_size") or 1)
