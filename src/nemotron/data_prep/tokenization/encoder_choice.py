"""The choice of the encoder for a run.

It is made on a sample of its own text, when tokenizing starts.

That the fast encoder gives the true ids is remembered for a tokenizer and both libraries' versions, with the writing
systems that were compared: text in another one is compared again.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nemotron.data_prep.config import EncoderSetting
from nemotron.data_prep.sources import Part, read_rows
from nemotron.data_prep.tokenization.encoders import Encoded, EncoderChoice, choose_encoder, take_pieces
from nemotron.data_prep.tokenization.tokenizer import Tokenizer, digest_of
from nemotron.errors import UserError
from nemotron.user_cache import recall, remember, version_of

SAMPLED_ROWS = 200
"""Rows of every dataset that may be encoded twice, to choose the encoder."""


def choose_for_run(
    wanted: EncoderSetting,
    tokenizer: Tokenizer,
    first_parts: Sequence[Part],
    ids_by: Callable[[str, Sequence[str]], Encoded | str],
) -> EncoderChoice:
    """Choose the fastest encoder that gives every dataset's first rows the true ids.

    Args:
        wanted: The config's encoder.
        tokenizer: What is to be encoded with.
        first_parts: The first part of every dataset.
        ids_by: `fast_ids`, or several processes that do it together.
    """
    if wanted == "tokenizers":
        return EncoderChoice("tokenizers")
    sample = list(take_pieces(_sample_texts(first_parts)))
    scripts = _scripts(sample)
    key = f"1 {version_of('gigatoken')} {version_of('tokenizers')} {digest_of(tokenizer.definition)}"
    compared = set(recall("encoders", key) or ())
    if compared and scripts <= compared:
        return EncoderChoice("gigatoken")
    choice = choose_encoder(wanted, tokenizer.definition, sample, ids_by)
    if choice.name == "gigatoken":
        remember("encoders", key, sorted(scripts | compared))
    return choice


def _scripts(texts: Sequence[str]) -> set[int]:
    """List the writing systems of texts, roughly.

    Stretches of 256 code points, of 4,096 beyond those of small alphabets.
    """
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
    return set(np.unique(np.where(points < 0x2000, points >> 8, 0x1000 + (points >> 12))).tolist())


def _sample_texts(first_parts: Sequence[Part]) -> Iterator[str]:
    """Text of the first rows of every dataset, in turn.

    A file that cannot be read is reported when its turn comes.
    """
    rows = [_first_rows(part) for part in first_parts]
    for row in itertools.chain.from_iterable(itertools.zip_longest(*rows)):
        yield from _strings(row)


def _first_rows(part: Part) -> Iterator[Any]:
    with contextlib.suppress(UserError):
        yield from (row.value for row in itertools.islice(read_rows(part), SAMPLED_ROWS))


def _strings(value: Any) -> Iterator[str]:
    """All text inside a JSON value, which may be nested deeper than Python recurses."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict):
            left.extend(value.values() if isinstance(value, dict) else value)
