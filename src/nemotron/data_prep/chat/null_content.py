"""Mark content that was null in its row.

It is empty text everywhere else, but chat templates may distinguish the two.
"""

from typing import Any


class NullText(str):
    """The empty text that stands for null."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return NullText, ()


NULL_TEXT = NullText()
