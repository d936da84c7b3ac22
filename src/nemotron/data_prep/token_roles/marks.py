"""The tokens by which messages and their pieces are told apart."""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.token_roles.role import CODE, Role

HEADER = "<|im_start|>"
HEADED = {"system": Role.SYSTEM, "user": Role.USER, "assistant": Role.ANSWER, "tool": Role.TOOL}
"""What follows the mark that opens a message, and whose message it is."""
NO_ROLE = 255


class Kind(IntEnum):
    """What a token marks."""

    NOTHING = 0
    HEADER = 1
    THINK = 2
    END_THINK = 3
    CALL = 4
    RESULT = 5


TEXTS = {
    HEADER: Kind.HEADER, "<think>": Kind.THINK, "</think>": Kind.END_THINK, "<tool_call>": Kind.CALL,
    "<tool_response>": Kind.RESULT,
}  # fmt: skip


class Marks(NamedTuple):
    """The marks of a tokenizer."""

    kinds: np.ndarray
    """uint8 [vocabulary]: the Kind of every token."""
    headed: np.ndarray
    """uint8 [vocabulary]: the code of the role whose name begins with the token; NO_ROLE for any other."""
    has_headers: bool
    """Whether the template writes a header at every message; else only chunks tell who speaks."""


def find_marks(encode: Callable[[Sequence[str]], list[list[int]]], vocab_size: int, template: str) -> Marks:
    """Find the marks that a tokenizer has as single tokens.

    Args:
        encode: Gives the ids of each text.
        vocab_size: The number of tokens.
        template: The source of the chat template.
    """
    kinds, headed = np.zeros(vocab_size, np.uint8), np.full(vocab_size, NO_ROLE, np.uint8)
    for kind, ids in zip(TEXTS.values(), encode(list(TEXTS)), strict=True):
        if len(ids) == 1:
            kinds[ids] = kind
    headers = encode([f"{HEADER}{name}\n" for name in HEADED])
    firsts = [ids[1] if len(ids) > 1 and kinds[ids[0]] == Kind.HEADER else -1 for ids in headers]
    has_headers = HEADER in template and -1 not in firsts and len(set(firsts)) == len(firsts)
    if has_headers:
        headed[firsts] = [CODE[role] for role in HEADED.values()]
    return Marks(kinds, headed, has_headers)
