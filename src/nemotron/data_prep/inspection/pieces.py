"""Show the tokens of a text, but none of a secret in it."""

from collections.abc import Sequence
from typing import Any

from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.secrets import MASK, mask_pieces


def show_pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[list[Any]]:
    """List tokens with their texts: [id, text] each.

    A secret is trained as what it is, so each of its tokens is still there; but their ids are `***`, and so is the text
    of the first. The others have no text.
    """
    pieces = tokenizer.pieces(ids)
    shown = mask_pieces([text for _, text in pieces])
    return [
        [token, text] if text == own else [MASK, text or ""] for (token, own), text in zip(pieces, shown, strict=True)
    ]
