"""The frame of every HTML page: one file that loads nothing from elsewhere."""

from html import escape
from pathlib import Path

STYLE_FILE = Path(__file__).with_name("report.css")


def html_page(title: str, body: str) -> str:
    """Return a complete HTML document in the style of all reports, without scripts.

    Args:
        title: Plain text; also the heading.
        body: HTML below the heading.
    """
    return page_start(title) + body + page_end()


def page_start(title: str, style: str = "") -> str:
    """Return the start of a document up to its heading, for pages written in pieces.

    Args:
        title: Plain text; also the heading.
        style: Extra CSS, added to that of all reports.
    """
    style = STYLE_FILE.read_text(encoding="utf-8") + style
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1>'


def page_end() -> str:
    """Return the HTML that closes the document."""
    return "</body></html>\n"
