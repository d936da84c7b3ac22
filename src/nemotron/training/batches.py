"""How the packs of a split are evaluated, and whether those of the train split can be gone on with in other batches."""


def evaluation_batches(packs: int, ranks: int, largest: int, asked: int | None = None) -> tuple[int, int]:
    """Packs per batch and number of batches of one evaluation.

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


def stuck_at(consumed: int, packs: int, batch: int, iterations: int) -> int | None:
    """After how many packs training would wait for a batch forever; None if it would not.

    The sampler (MegatronPretrainingBatchSampler, megatron/bridge/data/samplers.py) takes its place in an epoch from the
    packs consumed, and yields nothing where less than a batch is left behind it. That can only happen after the batch
    was another one.

    Args:
        consumed: packs trained so far.
        packs: of the train split.
        batch: from here on.
        iterations: left.
    """
    per_epoch = packs // batch * batch
    while iterations > 0:
        batches = (packs - consumed % per_epoch) // batch
        if batches == 0:
            return consumed
        consumed += batches * batch
        iterations -= batches
    return None
