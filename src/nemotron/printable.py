"""Make text from data and file names safe to print."""

import re

from nemotron.secrets import mask_text

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters except tab and newline, marks that change text direction, and lone surrogates."""


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Escape what a terminal would act on, and mask secrets.

    Escapes look like `\u001b`, so JSON stays JSON.

    Args:
        text: Any text; lone surrogates are allowed.
        one_line: Escape newlines and tabs too.
    """
    text = escape(mask_text(text))
    return text.replace("\n", "\\n").replace("\t", "\\t") if one_line else text


def escape(text: str) -> str:
    """Escape what a terminal would act on, except tab and newline, as JSON does."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def count_of(number: int, noun: str) -> str:
    """Write `1 file` or `1,024 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
