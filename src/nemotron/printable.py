"""Text out of data and file names, made safe to look at."""

import re

from nemotron.config.secrets import mask_text

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters but tab and newline, marks that turn the direction of text, and halves of characters."""


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Escape what would act on a terminal, and mask secrets.

    Escaped as `\u001b`, so that JSON stays JSON.

    Args:
        text: Anything, lone surrogates included.
        one_line: Escape newlines and tabs, too.
    """
    text = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", mask_text(text))
    return text.replace("\n", "\\n").replace("\t", "\\t") if one_line else text
