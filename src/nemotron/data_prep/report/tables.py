"""Render tables and text of the report.

Text is escaped, and shortened if it is long. The number of rows of a table is limited.
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

    Text longer than `most` is shortened in the middle.
    """
    shown = printable(str(value))
    if len(shown) > most:
        shown = f"{shown[: most // 2]}\u2026{shown[-most // 2 :]}"
    return Html(escape(shown))


def name(value: object) -> Html:
    """Return the name of a dataset, a field or the like as HTML."""
    return text(value, MOST_OF_NAME)


def section(anchor: str, heading: str, *content: str) -> Html:
    """Return a section of the page, or nothing if it has no content."""
    inside = "".join(content)
    return Html(f'<section id="{anchor}"><h2>{heading}</h2>{inside}</section>' if inside else "")


def paragraph(*words: str) -> Html:
    """Return a paragraph of HTML."""
    return Html(f"<p>{' '.join(words)}</p>")


def unfold(summary: str, *content: str, is_open: bool = False) -> Html:
    """Return content that is hidden until its summary is clicked."""
    return Html(f"<details{' open' if is_open else ''}><summary>{summary}</summary>{''.join(content)}</details>")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    text_columns: Sequence[int] = (),
    more: str = "",
    most: int = MOST_ROWS,
) -> Html:
    """Return a table, in a box that scrolls if it is too wide.

    Args:
        header: Titles of the columns.
        rows: Cells; each is Html or plain text.
        text_columns: Columns of text, in addition to the first.
        more: What the rows are, such as "datasets", for the number of rows that are not shown.
        most: The number of rows to show.
    """
    rows = list(rows)
    if not rows:
        return Html("")
    kinds = [' class="text"' if column in text_columns else "" for column in range(len(header))]
    head = "".join(f"<th{kind}>{escape(title)}</th>" for title, kind in zip(header, kinds, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))}</tr>" for row in rows[:most]
    )
    left = len(rows) - most
    rest = f'<p class="more">and {left:,} more {more}: metadata.json has all.</p>' if left > 0 else ""
    return Html(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}")


def _cell(cell: str, kind: str) -> str:
    return f"<td{kind}>{cell if isinstance(cell, Html) else name(cell)}</td>"


def count(number: float) -> str:
    """Format a number of things."""
    return f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """Format a share in percent, or a dash if the whole is zero."""
    return f"{part / whole:.1%}" if whole else "-"


def things(number: int, thing: str) -> str:
    """Format a number of things with their name: `1 row`, `2 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
