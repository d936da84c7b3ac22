"""Compute the shares that a blend asks for, to compare with the actual ones."""

from collections.abc import Sequence

from nemotron.data_prep.sources.blend import Dataset


def asked_shares(datasets: Sequence[Dataset], low_effort: float) -> list[float | None]:
    """Return the share of its split's conversations that each dataset should have.

    It is None if the blend has no weights. Datasets with low effort divide the share of `reasoning.low_effort` among
    them, and the others divide the rest.
    """
    asked: list[float | None] = [None] * len(datasets)
    for goes_to in {dataset.goes_to for dataset in datasets}:
        members = [number for number, dataset in enumerate(datasets) if dataset.goes_to == goes_to]
        weights = {number: datasets[number].weight for number in members}
        if any(weight is None for weight in weights.values()):
            continue
        low = [number for number in members if datasets[number].has_low_effort]
        others = [number for number in members if number not in low]
        divided = [(low, low_effort), (others, 1 - low_effort)] if low_effort and low and others else [(members, 1.0)]
        for group, share in divided:
            whole = sum(weights[number] or 0.0 for number in group)
            for number in group:
                asked[number] = share * (weights[number] or 0.0) / whole if whole else 0.0
    return asked
