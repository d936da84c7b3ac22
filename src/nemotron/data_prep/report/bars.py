"""Render the charts of the report in HTML.

They are readable at any width, show values on hover, and also have them as a table.
"""

from collections.abc import Sequence
from typing import NamedTuple

from nemotron.data_prep.output.distributions import Distribution
from nemotron.data_prep.report.tables import Html, count, name, share, unfold

LABELS = 8
"""About this many bins have their lower edge written below them."""


class Segment(NamedTuple):
    """A part of a stacked bar."""

    kind: str
    """Its CSS class, which sets the colour."""
    title: str
    value: int


def histogram(title: str, found: Distribution, axis: str, things: str, unit: str = "") -> Html:
    """Return a bar chart of the number of values in each bin.

    Args:
        title: The title of the chart.
        found: The bins.
        axis: What the values measure.
        things: What is counted.
        unit: Text after a value, such as " %".
    """
    whole, top = sum(found.counts), _round_up(max(found.counts))
    bins = [_name_bin(found, number, unit) for number in range(len(found.counts))]
    every = max(1, -(-len(bins) // LABELS))
    bars = []
    for number, (label, counted) in enumerate(zip(bins, found.counts, strict=True)):
        below = f"<b>{_short(found.edges[number])}</b>" if number % every == 0 else ""
        value = f"{label}: {counted:,} {things} ({share(counted, whole)})"
        bars.append(
            f'<div class="bar" data-value="{value}"><i style="height:{100 * counted / top:.2f}%"></i>{below}</div>'
        )
    quantiles = ", ".join(f"{key} {value:,}{unit}" for key, value in found.quantiles.items())
    rows = [(label, f"{counted:,}", share(counted, whole)) for label, counted in zip(bins, found.counts, strict=True)]
    shown = "".join(f"<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in rows)
    head = f"<thead><tr><th>{axis}</th><th>{things}</th><th>share</th></tr></thead>"
    scale = "".join(f"<span>{_short(mark)}</span>" for mark in (top, top / 2, 0))
    return Html(
        f'<figure class="histogram"><figcaption>{title}</figcaption>'
        f'<div class="plot"><div class="scale">{scale}</div>'
        f'<div class="bars" role="img" aria-label="{title}: {quantiles}">{"".join(bars)}</div></div>'
        f'<p class="axis">{axis}; bars: {things}</p><p class="quantiles">{quantiles}, mean {found.mean:,.1f}{unit}</p>'
        f"{unfold('as a table', f'<table>{head}<tbody>{shown}</tbody></table>')}</figure>"
    )


def stacked_bar(label: str, segments: Sequence[Segment], note: str) -> Html:
    """Return a bar of segments next to each other, which fill its width.

    Args:
        label: The text above the bar.
        segments: The segments, from left to right.
        note: HTML at the right end of the bar.
    """
    whole = sum(segment.value for segment in segments)
    drawn = "".join(
        f'<i class="{segment.kind}" style="width:{100 * segment.value / whole:.3f}%" '
        f'data-value="{segment.title}: {segment.value:,} ({share(segment.value, whole)})"></i>'
        for segment in segments
        if segment.value
    )
    return Html(f'<div class="stack"><p><span>{name(label)}</span><span>{note}</span></p><div>{drawn}</div></div>')


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """Return the legend of colours, from pairs of CSS class and text."""
    return Html(
        '<p class="keys">' + "".join(f'<span><i class="{kind}"></i>{words}</span>' for kind, words in entries) + "</p>"
    )


def pair(asked: float, got: float, most: float) -> Html:
    """Return two thin bars: the requested and the actual share."""
    bars = "".join(
        f'<i class="{kind}" style="width:{100 * min(value / most, 1):.2f}%"></i>'
        for kind, value in (("asked", asked), ("got", got))
    )
    return Html(f'<div class="pair">{bars}</div>')


def _name_bin(found: Distribution, number: int, unit: str) -> str:
    low, high = found.edges[number], found.edges[number + 1]
    if unit:
        return f"{count(low)} to {count(high)}{unit}"
    return count(low) if high - low <= 1 else f"{count(low)} to {count(high - 1)}"


def _round_up(most: int) -> float:
    """Round up to a number that ends an axis well, and whose half is round too."""
    if most <= 10:
        return most + most % 2
    step = 10 ** (len(str(most)) - 1)
    return next(factor * step for factor in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if factor * step >= most)


def _short(number: float) -> str:
    """Format a number briefly: 950, 1,536, 12.5k, 3.2M."""
    if number < 10_000:
        return f"{number:,.0f}"
    size, mark = next((size, mark) for size, mark in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if number >= size)
    return f"{number / size:.3g}{mark}"
