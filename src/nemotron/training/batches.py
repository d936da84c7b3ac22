"""How the packs of a split are evaluated: in which batches, and how many."""


def evaluation_batches(packs: int, ranks: int, largest: int) -> tuple[int, int]:
    """Packs per batch and number of batches that evaluate as much of a split as its data-parallel ranks can share.

    Args:
        packs: in the split.
        ranks: data-parallel ranks; each batch gives every one of them as many packs.
        largest: at most so many packs per batch (raised to `ranks` if it is less).

    Returns:
        (0, 0) when there are fewer packs than ranks. Otherwise only `packs % ranks` packs are left out; of the batches
        that achieve it, the largest.
    """
    per_rank = packs // ranks
    if per_rank == 0:
        return 0, 0
    most = max(1, min(largest // ranks, per_rank))
    share = next(share for share in range(most, 0, -1) if per_rank % share == 0)
    return share * ranks, per_rank // share
