"""Divide the packs of a split into the batches of an evaluation."""


def evaluation_batches(packs: int, ranks: int, largest: int, asked: int | None = None) -> tuple[int, int]:
    """Choose the packs per batch and the number of batches of one evaluation.

    Args:
        packs: in the split.
        ranks: data-parallel ranks; each batch gives every one of them as many packs.
        largest: at most so many packs per batch (lowered to a multiple of `ranks`, but at least `ranks`).
        asked: at most so many batches; None: as many as the split needs.

    Returns:
        (0, 0) when there is nothing to evaluate. Otherwise as few batches as the whole split needs, and these as small
        as they can be: what is missing in the last is filled up. Or `asked` full batches, if that is fewer.
    """
    if packs == 0:
        return 0, 0
    most = max(largest // ranks, 1) * ranks
    whole = -(-packs // most)
    if asked is not None and asked < whole:
        return most, asked
    return -(-packs // (whole * ranks)) * ranks, whole
