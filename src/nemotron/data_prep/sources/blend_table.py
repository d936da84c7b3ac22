"""Show a blend as a table of domains: documented and covered shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from nemotron.data_prep.sources.blend import Blend, Dataset
from nemotron.errors import UserError


@dataclass(frozen=True)
class DomainRow:
    """One domain of a blend.

    Shares are fractions by sample count; None if the blend has no weights.
    """

    split: str | None
    """The split under which the blend lists it, if any."""
    group: str | None
    domain: str
    datasets: list[str]
    weight: float | None
    asked: float | None
    """Share of the documented mix."""
    available: bool
    """Whether all its datasets have a path."""
    covered: float | None
    """Share of the mix without the missing domains, which data prep aims for."""
    got: float | None
    """Share of the conversations in a finished run; None without one."""
    scale: str | None
    source: str | None
    bring: str | None


def domain_rows(blend: Blend, got: Mapping[str, float] | None = None) -> list[DomainRow]:
    """Return the domains of a blend, grouped.

    `got` has the shares of conversations in a finished run, by dataset.
    """
    listed = [*blend.datasets, *blend.missing]
    order = {key: number for number, key in enumerate(dict.fromkeys((d.goes_to, d.group) for d in listed))}
    domains = {key: number for number, key in enumerate(dict.fromkeys(map(_domain, listed)))}
    in_order = sorted(listed, key=lambda d: (order[d.goes_to, d.group], domains[_domain(d)]))
    asked = share_out(blend)
    rows = []
    for _, members in groupby(in_order, key=lambda d: (d.goes_to, d.group, _domain(d))):
        rows.append(_row(blend, list(members), asked, got))
    return rows


def share_out(blend: Blend) -> dict[tuple[str, str | None], float]:
    """Return the share of every dataset with a weight in the documented mix.

    Keys are (name, split), including missing datasets. If the blend states the share of its public datasets, they
    divide it by weight, and the others divide the rest.
    """
    listed = [*blend.datasets, *blend.missing]
    shares: dict[tuple[str, str | None], float] = {}
    for goes_to in dict.fromkeys(dataset.goes_to for dataset in listed):
        weighted = [d for d in listed if d.goes_to == goes_to and d.weight is not None]
        public = sum(_weight(d) for d in weighted if d.bring is None)
        brought = sum(_weight(d) for d in weighted if d.bring is not None)
        stated = blend.public_share if public and brought else None
        for dataset in weighted:
            of, whole = (public, stated) if dataset.bring is None else (brought, None if stated is None else 1 - stated)
            scale = 1 / (public + brought) if whole is None else whole / of
            shares[dataset.name, dataset.goes_to] = _weight(dataset) * scale
    return shares


def coverage(blend: Blend) -> float | None:
    """Return the share of the documented mix that has data; None without weights.

    Of several splits with weights it is the average.
    """
    shares = share_out(blend)
    if not shares:
        return None
    covered = sum(shares.get((dataset.name, dataset.goes_to), 0.0) for dataset in blend.datasets)
    return covered / len({split for _, split in shares})  # the shares of a split add up to 1


def describe_missing(blend: Blend) -> str:
    """Describe the covered share of the mix, and the missing domains."""
    names = ", ".join(dict.fromkeys(_domain(dataset) for dataset in blend.missing))
    share = coverage(blend)
    covers = "" if share is None else f"{share:.0%} of the documented mix is covered; "
    return f"{covers}there is no data for {names}"


def refuse_missing(blend: Blend) -> None:
    """Raise UserError if a domain of the blend has no data."""
    if blend.missing:
        raise UserError(
            f"{blend.path}: {describe_missing(blend)}.",
            f'Give their paths ("{blend.missing[0].name}": {blend.missing[0].bring}), or do without: strict=false.',
        )


def _row(
    blend: Blend,
    members: Sequence[Dataset],
    asked: Mapping[tuple[str, str | None], float],
    got: Mapping[str, float] | None,
) -> DomainRow:
    first = members[0]
    weights = [member.weight for member in members if member.weight is not None]
    present = [member for member in members if not member.is_missing]
    all_present = sum(_weight(d) for d in blend.datasets if d.goes_to == first.goes_to)
    shares = [asked[member.name, member.goes_to] for member in members if (member.name, member.goes_to) in asked]
    return DomainRow(
        split=first.goes_to,
        group=first.group,
        domain=_domain(first),
        datasets=[member.name for member in members],
        weight=round(sum(weights), 6) if weights else None,
        asked=sum(shares) if shares else None,
        available=len(present) == len(members),
        covered=sum(map(_weight, present)) / all_present if weights and all_present else None,
        got=None if got is None else sum(got.get(member.name, 0.0) for member in members),
        scale=first.scale,
        source=first.source,
        bring=first.bring if len(present) < len(members) else None,
    )


def _domain(dataset: Dataset) -> str:
    return dataset.domain or dataset.name


def _weight(dataset: Dataset) -> float:
    return dataset.weight or 0.0
