"""The tokens that separate messages and their pieces."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.token_roles.role import CODE, Role

HEADER = "<|im_start|>"
HEADED = {"system": Role.SYSTEM, "user": Role.USER, "assistant": Role.ANSWER, "tool": Role.TOOL}
"""What follows the mark that opens a message, and whose message it is."""
NO_ROLE = 255


class Kind(StrEnum):
    """What a token marks; the value is its text."""

    HEADER = HEADER
    THINK = "<think>"
    END_THINK = "</think>"
    CALL = "<tool_call>"
    RESULT = "<tool_response>"


class Marks(NamedTuple):
    """The marks of a tokenizer."""

    tokens: dict[Kind, int]
    """The id of each mark that is a single token."""
    headed: np.ndarray
    """uint8 [vocabulary]: the code of the role whose name begins with the token; NO_ROLE for any other."""
    has_headers: bool
    """Whether the template writes a header at every message; otherwise only the chunks show who speaks."""


def find_marks(encode: Callable[[Sequence[str]], list[list[int]]], vocab_size: int, template: str) -> Marks:
    """Find the marks that a tokenizer has as single tokens.

    Args:
        encode: Returns the ids of each text.
        vocab_size: The number of tokens.
        template: The source of the chat template.
    """
    tokens = {kind: ids[0] for kind, ids in zip(Kind, encode(list(Kind)), strict=True) if len(ids) == 1}
    headed = np.full(vocab_size, NO_ROLE, np.uint8)
    headers = encode([f"{HEADER}{name}\n" for name in HEADED])
    firsts = [ids[1] if len(ids) > 1 and ids[0] == tokens.get(Kind.HEADER) else -1 for ids in headers]
    has_headers = HEADER in template and -1 not in firsts and len(set(firsts)) == len(firsts)
    if has_headers:
        headed[firsts] = [CODE[role] for role in HEADED.values()]
    return Marks(tokens, headed, has_headers)
