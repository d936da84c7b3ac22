"""Give low-effort datasets a fixed share of the mix, without limiting the others."""

from collections.abc import Sequence

from nemotron.data_prep.selection.mix import UnreachableMix, mix_counts


def mix_with_low_effort(
    available: Sequence[int],
    weights: Sequence[float | None],
    *,
    repeats: Sequence[bool],
    is_low: Sequence[bool],
    share: float,
    samples: int | None = None,
) -> list[int]:
    """Return the number of conversations of each dataset in the mix, as `mix_counts`.

    Without a share, or without datasets of both kinds, only the weights decide. If the low-effort datasets have fewer
    conversations than their share, the mix has fewer of them, and with `samples` more of the others.

    Raises:
        UnreachableMix: `samples` needs more of another dataset than there is.
    """
    low = [number for number, one in enumerate(is_low) if one and available[number]]
    others = [number for number, one in enumerate(is_low) if not one]
    if not share or not low or not any(available[number] for number in others):
        return mix_counts(available, weights, repeats=repeats, samples=samples)
    counts = [0] * len(available)

    def take(numbers: list[int], samples: int | None) -> int:
        taken = mix_counts(
            [available[number] for number in numbers],
            [weights[number] for number in numbers],
            repeats=[repeats[number] for number in numbers],
            samples=samples,
        )
        for number, count in zip(numbers, taken, strict=True):
            counts[number] = count
        return sum(taken)

    def take_low(wanted: int) -> int:
        try:
            return take(low, wanted) if wanted else 0
        except UnreachableMix as error:
            return take(low, error.most)

    try:
        if samples is None:
            take_low(round(take(others, None) * share / (1 - share)))
        else:
            take(others, samples - take_low(round(samples * share)))
    except UnreachableMix as error:
        raise UnreachableMix(others[error.number], error.asked, error.most) from None
    return counts
