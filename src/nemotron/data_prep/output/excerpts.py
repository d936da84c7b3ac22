"""Read the beginning and end of tokenized sequences as text, with role and mask."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np

from nemotron.data_prep.part_index import SequencePlace
from nemotron.data_prep.token_roles.role import ROLES
from nemotron.data_prep.tokenization.outcomes import shorten
from nemotron.data_prep.tokenization.part_files import map_tokens, read_stretches, unmark
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.printable import printable
from nemotron.secrets import mask_pieces

MOST_OF_CHUNK, MOST_OF_SEQUENCE = 1500, 8000
"""Most characters to show, because a token may be long."""


AROUND = 300
"""Tokens before and after what is shown that are looked at, for secrets of which only a piece would be shown."""


class Gap(TypedDict):
    """Tokens that are left out."""

    gap: int


class Chunk(TypedDict):
    """Tokens that all train, or that all do not."""

    role: NotRequired[str]
    """Where it changes."""
    text: str
    supervised: bool
    tokens: int
    supervised_tokens: int


class Excerpt(TypedDict):
    """What a Wanted is about, and its chunks."""

    kind: str
    """longest, shortest, repeated or dropped."""
    dataset: str
    file: str
    line: int
    tokens: int
    uncut: int
    """Tokens before it was cut."""
    supervised_tokens: int
    count: NotRequired[int]
    """How often it occurs, if it is repeated."""
    reason: NotRequired[str]
    """Why it was dropped."""
    chunks: list[Chunk | Gap]


class Wanted(NamedTuple):
    """A sequence to read."""

    part: Path
    place: SequencePlace
    """The position of the sequence in the part."""
    length: int
    """Tokens of the sequence that are kept."""
    shown: tuple[int, int]
    """Tokens to read from the beginning and from the end."""
    about: dict[str, Any]


def read_excerpt(tokenizer: Tokenizer, wanted: Wanted) -> Excerpt:
    """Read the beginning and the end of a sequence."""
    tokens = map_tokens(wanted.part)
    pieces = wanted.place.stretches(min(wanted.length + AROUND, wanted.about["uncut"]))
    ids, mask = unmark(np.concatenate([tokens[begin : begin + count] for begin, count in pieces]))
    starts, roles = _roles(wanted)
    head, tail = wanted.shown
    if wanted.length <= head + tail + 50:  # do not leave out just a few tokens
        regions = [(0, wanted.length)]
    else:
        regions = [(0, head), (wanted.length - tail, wanted.length)]
    borders = np.unique(np.concatenate([starts, np.flatnonzero(np.diff(mask)) + 1, np.ravel(regions)]))
    chunks: list[Chunk | Gap] = []
    end = characters = 0
    speaker = ""
    for begin, until in regions:
        if begin > end:
            chunks.append({"gap": begin - end})
        inside = list(itertools.pairwise(borders[(borders >= begin) & (borders <= until)].tolist()))
        spans = [(max(0, begin - AROUND), begin), *inside, (until, until + AROUND)]
        texts = mask_pieces([tokenizer.text(ids[first:after].tolist()) for first, after in spans])[1:-1]
        for (first, after), text in zip(inside, texts, strict=True):
            role = ROLES[roles[np.searchsorted(starts, first, side="right") - 1]]
            chunk = _chunk(text or "", after - first, bool(mask[first]), str(role))
            characters += len(chunk["text"])
            if characters > MOST_OF_SEQUENCE:
                chunk["text"] = "\u2026"
            if role == speaker:
                del chunk["role"]  # unchanged
            speaker = str(role)
            chunks.append(chunk)
        end = until
    return Excerpt(**wanted.about, chunks=chunks)


def _roles(wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
    """Return where the stretches of a sequence start in it, and their roles."""
    stretches = read_stretches(wanted.part)
    starts, found, so_far = stretches.starts(), [], 0
    for begin, count in wanted.place.stretches(wanted.length):
        inside = (starts >= begin) & (starts < begin + count)
        found.append((starts[inside] - begin + so_far, stretches.roles[inside]))
        so_far += count
    begins, roles = zip(*found, strict=True)
    return np.concatenate(begins), np.concatenate(roles)


def _chunk(text: str, tokens: int, supervised: bool, role: str) -> Chunk:
    return {
        "role": role,
        "text": shorten(printable(text), MOST_OF_CHUNK),
        "supervised": supervised,
        "tokens": tokens,
        "supervised_tokens": tokens * supervised,
    }
