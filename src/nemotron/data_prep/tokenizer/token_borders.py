"""Cut a text to a number of tokens, at a token or at a newline nearby."""

import functools
from typing import TYPE_CHECKING, Literal

from nemotron.data_prep.chat.special_tokens import cut_at_marks
from nemotron.data_prep.tokenizer.encoders import hugging_face

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

NEAR = 0.1
"""How much of the budget may stay unused to end at a newline."""


class DefinedBorders:
    """Token borders of a tokenizer, by the contents of its tokenizer.json."""

    def __init__(self, definition: bytes, at: Literal["token", "newline"] = "token") -> None:
        self._definition, self._at = definition, at

    def cut(self, text: str, tail: str, most: int) -> str | None:
        """Return the longest beginning of `text` that fits `most` tokens with `tail`.

        None means that all of it fits. With `newline`, it ends at the last newline of its last tenth, if there is one.
        """
        ends = self._ends(text)
        if len(ends) <= most and self._count(text + tail) <= most:
            return None
        tokens = min(most, len(ends))
        while tokens > 0:
            cut = text[: ends[tokens - 1]]
            if self._count(cut + tail) <= most:  # the beginning of a text may have other tokens than within the whole
                return self._at_newline(cut, ends, tokens, tail, most) if self._at == "newline" else cut
            tokens -= 1
        return ""

    def _at_newline(self, cut: str, ends: list[int], tokens: int, tail: str, most: int) -> str:
        earliest = ends[max(tokens - int(most * NEAR), 1) - 1]
        newline = cut.rfind("\n", earliest)
        return cut[:newline] if newline > 0 and self._count(cut[:newline] + tail) <= most else cut

    def _ends(self, text: str) -> list[int]:
        """Return where each token of a text ends, in characters."""
        ends, start, parts = [], 0, cut_at_marks(text)
        mark = (len(text) - sum(map(len, parts))) // max(len(parts) - 1, 1)  # between two pieces
        for piece in parts:
            encoding = _backend(self._definition).encode(piece, add_special_tokens=False)
            ends.extend(start + end for _, end in encoding.offsets)
            start += len(piece) + mark
        return ends

    def _count(self, text: str) -> int:
        return sum(
            len(_backend(self._definition).encode(piece, add_special_tokens=False)) for piece in cut_at_marks(text)
        )


@functools.lru_cache(maxsize=2)  # a worker builds it once, and only if there is something to cut
def _backend(definition: bytes) -> "Backend":
    return hugging_face(definition)
