"""Divide the packs of a split into the batches of an evaluation."""


def evaluation_batches(packs: int, ranks: int, largest: int, asked: int | None = None) -> tuple[int, int]:
    """Choose the packs per batch and the number of batches of one evaluation.

    Args:
        packs: Packs in the split.
        ranks: Data-parallel ranks, which get the same number of packs of each batch.
        largest: The most packs per batch (rounded down to a multiple of `ranks`, but at least `ranks`).
        asked: The most batches; None means as many as the split needs.

    Returns:
        (0, 0) if there is nothing to evaluate. Otherwise as few and then as small batches as the whole split needs,
        with the
            last one filled up; or `asked` full batches, if these are fewer.
    """
    if packs == 0:
        return 0, 0
    most = max(largest // ranks, 1) * ranks
    whole = -(-packs // most)
    if asked is not None and asked < whole:
        return most, asked
    return -(-packs // (whole * ranks)) * ranks, whole
