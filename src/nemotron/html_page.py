"""The page around a report: one HTML file that loads and runs nothing."""

from html import escape
from pathlib import Path

STYLE_FILE = Path(__file__).with_name("report.css")


def html_page(title: str, body: str) -> str:
    """Return a complete HTML document in the style of all reports.

    Args:
        title: plain text; also the heading.
        body: HTML below the heading.
    """
    style = STYLE_FILE.read_text(encoding="utf-8")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>\n{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1>{body}</body></html>\n'
