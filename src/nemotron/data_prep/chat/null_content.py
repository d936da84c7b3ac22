"""Content that was null in its row.

It is empty text everywhere, but chat templates may tell the two apart.
"""

from typing import Any


class NullText(str):
    """The empty text that stands for null."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return NullText, ()


NULL_TEXT = NullText()
