"""Sequences of tokens as stretches of one role each.

If the template opens every message with <|im_start|> and a name, these show who speaks, also in the history. With any
other template the chunks show it; the text between two answers then counts as its last message's. In both cases a
thought ends at its </think>, and calls begin at <tool_call>, if the tokenizer has these as tokens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.token_roles.marks import NO_ROLE, Kind, Marks
from nemotron.data_prep.token_roles.ones import Ones
from nemotron.data_prep.token_roles.role import CODE, OF_CHUNK, Role

OPENING = 4
"""A tool's result begins within this many tokens of its message: <|im_start|>, user, a newline, <tool_response>."""


DIVIDING = (Kind.HEADER, Kind.END_THINK, Kind.CALL)
"""Marks at which a stretch begins or ends."""


class Stretches(NamedTuple):
    """Consecutive stretches of tokens, as flat arrays."""

    roles: np.ndarray
    """uint8: the index in ROLES."""
    lengths: np.ndarray
    """int32, in tokens."""
    targets: np.ndarray
    """int32: tokens the trainer learns to predict."""

    def starts(self) -> np.ndarray:
        """Return the start of each stretch.

        int64, in tokens.
        """
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    def only(self, tokens: np.ndarray) -> "Stretches":
        """Return the stretches of some tokens.

        Args:
            tokens: Bool [tokens]; all tokens of a stretch, or none.
        """
        of = tokens[self.starts()]
        return Stretches(*(array[of] for array in self))


NONE = Stretches(np.zeros(0, np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int32))


def concatenate(parts: Sequence[Stretches]) -> Stretches:
    """Return the stretches of several batches as one."""
    return Stretches(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))) if parts else NONE


def find_stretches(
    ids: np.ndarray,
    sequence_lengths: np.ndarray,
    chunk_lengths: np.ndarray,
    chunk_roles: Sequence[str],
    targets: Ones,
    marks: Marks,
) -> Stretches:
    """Find the stretches of consecutive sequences.

    Args:
        ids: int32 [tokens].
        sequence_lengths: int64 [sequences].
        chunk_lengths: int64 [chunks].
        chunk_roles: The role of each chunk; not needed if messages have headers.
        targets: Which tokens the trainer learns to predict.
        marks: The marks of the tokenizer and the template.
    """
    places = _find_marks(ids, marks)
    if marks.has_headers:
        firsts = (np.cumsum(sequence_lengths) - sequence_lengths)[sequence_lengths > 0]
        starts, roles = _find_messages(ids, places[Kind.HEADER], firsts, marks)
    else:
        starts, roles = _chunk_starts(chunk_lengths, chunk_roles)
    starts, roles = _divide_answers(ids, starts, roles, places, marks)
    ends = np.append(starts[1:], len(ids))[: len(starts)]
    learned = targets.before(ends) - targets.before(starts)
    return Stretches(roles, (ends - starts).astype(np.int32), learned.astype(np.int32))


def _find_marks(ids: np.ndarray, marks: Marks) -> dict[Kind, np.ndarray]:
    """Return the positions of the dividing marks, by kind."""
    # A comparison per mark takes a fifth of the time that it takes to look up every token.
    return {kind: np.flatnonzero(ids == marks.tokens.get(kind, -1)) for kind in DIVIDING}


def _find_messages(
    ids: np.ndarray, headers: np.ndarray, firsts: np.ndarray, marks: Marks
) -> tuple[np.ndarray, np.ndarray]:
    """Return where messages begin, and whose they are.

    Tokens before a sequence's first message belong to nobody.
    """
    roles = marks.headed[ids[np.minimum(headers + 1, len(ids) - 1)]]
    others = firsts[ids[firsts] != marks.tokens[Kind.HEADER]]
    starts = headers
    if len(others):
        starts = np.concatenate([headers, others])
        order = np.argsort(starts, kind="stable")
        starts, roles = starts[order], np.append(roles, np.full(len(others), NO_ROLE, np.uint8))[order]
    roles[roles == NO_ROLE] = CODE[Role.OTHER]
    users = np.flatnonzero(roles == CODE[Role.USER])
    if Kind.RESULT in marks.tokens:
        opening = ids[np.minimum(starts[users, None] + np.arange(2, OPENING), len(ids) - 1)]
        roles[users[(opening == marks.tokens[Kind.RESULT]).any(axis=1)]] = CODE[Role.TOOL]
    return starts, roles


def _chunk_starts(chunk_lengths: np.ndarray, chunk_roles: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    codes = {name: CODE[role] for name, role in OF_CHUNK.items()}
    roles = np.fromiter((codes.get(role, CODE[Role.OTHER]) for role in chunk_roles), np.uint8, len(chunk_roles))
    starts = np.cumsum(chunk_lengths) - chunk_lengths
    return starts[chunk_lengths > 0], roles[chunk_lengths > 0]


def _divide_answers(
    ids: np.ndarray, starts: np.ndarray, roles: np.ndarray, places: dict[Kind, np.ndarray], marks: Marks
) -> tuple[np.ndarray, np.ndarray]:
    """Separate the thought at the start of answers, and the calls at their end."""
    ends = np.append(starts[1:], len(ids))[: len(starts)]
    # An empty thought, <think></think>, is how an answer without one begins.
    thought_ends = places[Kind.END_THINK]
    thought_ends = thought_ends[ids[thought_ends - 1] != marks.tokens.get(Kind.THINK, -1)]
    after_thought = _first_per_message(thought_ends, starts, roles)
    has_thought = after_thought >= 0
    calls = places[Kind.CALL]
    of = np.searchsorted(starts, calls, side="right") - 1
    call = _first_per_message(calls[calls > after_thought[of]], starts, roles)
    roles = np.where(has_thought, np.uint8(CODE[Role.REASONING]), roles)
    goes_on, has_call = has_thought & (after_thought + 1 < ends), call >= 0
    all_starts = np.concatenate([starts, after_thought[goes_on] + 1, call[has_call]])
    all_roles = np.concatenate([
        roles,
        np.full(goes_on.sum(), CODE[Role.ANSWER], np.uint8),
        np.full(has_call.sum(), CODE[Role.CALLS], np.uint8),
    ])  # fmt: skip
    order = np.argsort(all_starts, kind="stable") if len(all_starts) > len(starts) else slice(None)
    all_starts, all_roles = all_starts[order], all_roles[order]
    # Where two begin at the same token, the first is empty: an answer that consists of calls.
    is_last = np.append(all_starts[1:] != all_starts[:-1], True)[: len(all_starts)]
    return all_starts[is_last], all_roles[is_last]


def _first_per_message(positions: np.ndarray, starts: np.ndarray, roles: np.ndarray) -> np.ndarray:
    """Return the first of some positions in every answer; -1 if there is none.

    int64 [messages].
    """
    first = np.full(len(starts), -1, np.int64)
    of = np.searchsorted(starts, positions, side="right") - 1
    first[of[::-1]] = positions[::-1]
    first[roles != CODE[Role.ANSWER]] = -1
    return first
