"""Pieces of HTML that the pages of runs are made of."""

import math
from collections.abc import Iterable, Sequence
from html import escape

from nemotron.printable import printable


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def to_html(text: object) -> str:
    """Escape text; HTML stays as it is."""
    return text if isinstance(text, Html) else escape(printable(str(text)))


def table(rows: Iterable[Sequence[object]], header: Sequence[object] = (), *, kind: str = "") -> Html:
    """Write a table, its cells escaped.

    Args:
        rows: Cells of each line.
        header: Titles of the columns.
        kind: A class of report.css: `facts` for a name and a text in each line.
    """
    head = f"<thead><tr>{''.join(f'<th>{to_html(cell)}</th>' for cell in header)}</tr></thead>" if header else ""
    lines = "".join(f"<tr>{''.join(f'<td>{to_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return Html(f'<table class="{kind}">{head}<tbody>{lines}</tbody></table>')


def unfold(title: str, content: str) -> Html:
    """Write what is hidden until its title is clicked."""
    return Html(f"<details><summary>{to_html(title)}</summary>{content}</details>")


def clock(seconds: float) -> str:
    """Write a length of time: `1 h 02 min`, `3 min 04 s`, `5.6 s`.

    It is empty if the number is not finite.
    """
    if not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def number(value: float | None) -> str:
    """Write a number with its magnitude: `1,234` or `12.3 million`; nothing for None."""
    if value is None:
        return ""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:,.4g} {name}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
