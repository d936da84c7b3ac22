"""Tables and words of the report.

Text is escaped and cut where it is long, and no table has more rows than a page can hold.
"""

from collections.abc import Iterable, Sequence
from html import escape

from nemotron.printable import printable

MOST_ROWS = 30
MOST_OF_NAME = 80


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object, most: int = 1000) -> Html:
    """Return plain text as HTML: printable and escaped.

    What is longer than `most` is cut in the middle.
    """
    shown = printable(str(value))
    if len(shown) > most:
        shown = f"{shown[: most // 2]}\u2026{shown[-most // 2 :]}"
    return Html(escape(shown))


def name(value: object) -> Html:
    """Return the name of a dataset, a field or the like as HTML."""
    return text(value, MOST_OF_NAME)


def section(anchor: str, heading: str, *content: str) -> Html:
    """Return a section of the page; none where there is no content."""
    inside = "".join(content)
    return Html(f'<section id="{anchor}"><h2>{heading}</h2>{inside}</section>' if inside else "")


def paragraph(*words: str) -> Html:
    """Return a paragraph of HTML."""
    return Html(f"<p>{' '.join(words)}</p>")


def unfold(summary: str, *content: str, is_open: bool = False) -> Html:
    """Return content that is shown when its summary is clicked."""
    return Html(f"<details{' open' if is_open else ''}><summary>{summary}</summary>{''.join(content)}</details>")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    text_columns: Sequence[int] = (),
    more: str = "",
    most: int = MOST_ROWS,
) -> Html:
    """Return a table, in a box that scrolls where it is too wide.

    Args:
        header: Titles of the columns.
        rows: Cells, HTML where they are Html, else plain text.
        text_columns: Those of words, besides the first.
        more: What the rows are ("datasets"), to say how many are not shown.
        most: So many rows are shown.
    """
    rows = list(rows)
    if not rows:
        return Html("")
    kinds = [' class="text"' if column in text_columns else "" for column in range(len(header))]
    head = "".join(f"<th{kind}>{escape(title)}</th>" for title, kind in zip(header, kinds, strict=True))
    body = "".join(f"<tr>{''.join(map(_cell, row, kinds))}</tr>" for row in rows[:most])
    left = len(rows) - most
    rest = f'<p class="more">and {left:,} more {more}: metadata.json has all.</p>' if left > 0 else ""
    return Html(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}")


def _cell(cell: str, kind: str) -> str:
    return f"<td{kind}>{cell if isinstance(cell, Html) else name(cell)}</td>"


def count(number: float) -> str:
    """Format a number of things."""
    return f"{number:,.0f}"


def share(part: float, whole: float, digits: int = 1) -> str:
    """Format a share in percent; a dash where there is nothing to have a share of."""
    return f"{part / whole:.{digits}%}" if whole else "-"


def things(number: int, thing: str) -> str:
    """Format a number of things with their name: `1 row`, `2 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
