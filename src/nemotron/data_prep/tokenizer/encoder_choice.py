"""Choose the encoder of a run on a sample of its text, when tokenizing starts.

The result of comparing the fast encoder with the reference is remembered for a tokenizer and both libraries' versions,
with the writing systems that were compared. Text in another writing system is compared again.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nemotron.data_prep.config import EncoderSetting
from nemotron.data_prep.sources import Part, read_rows
from nemotron.data_prep.tokenizer.encoders import Encoded, EncoderChoice, choose_encoder, take_pieces
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.errors import UserError
from nemotron.user_cache import recall, remember, version_of

SAMPLED_ROWS = 200
"""How many rows of every dataset may be encoded twice to choose the encoder."""


def choose_for_run(
    wanted: EncoderSetting,
    tokenizer: Tokenizer,
    first_parts: Sequence[Part],
    ids_by: Callable[[bytes, Sequence[str]], Encoded | str],
) -> EncoderChoice:
    """Choose the fastest encoder that gives the correct ids for the first rows.

    Args:
        wanted: The config's encoder.
        tokenizer: The tokenizer to encode with.
        first_parts: The first part of every dataset.
        ids_by: `fast_ids`, or the same in several processes.
    """
    if wanted == "tokenizers":
        return EncoderChoice("tokenizers")
    sample = list(take_pieces(_sample_texts(first_parts)))
    scripts = _scripts(sample)
    key = f"1 {version_of('gigatoken')} {version_of('tokenizers')} {tokenizer.definition_digest}"
    compared = set(recall("encoders", key) or ())
    if compared and scripts <= compared:
        return EncoderChoice("gigatoken")
    choice = choose_encoder(wanted, tokenizer.definition, sample, ids_by)
    if choice.name == "gigatoken":
        remember("encoders", key, sorted(scripts | compared))
    return choice


def _scripts(texts: Sequence[str]) -> set[int]:
    """List the writing systems of texts, roughly.

    They are blocks of 256 code points, or of 4,096 beyond the small alphabets.
    """
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
    return set(np.unique(np.where(points < 0x2000, points >> 8, 0x1000 + (points >> 12))).tolist())


def _sample_texts(first_parts: Sequence[Part]) -> Iterator[str]:
    """Yield text of the first rows of every dataset, in turn.

    Unreadable files are skipped here and reported when they are tokenized.
    """
    rows = [_first_rows(part) for part in first_parts]
    for row in itertools.chain.from_iterable(itertools.zip_longest(*rows)):
        yield from _strings(row)


def _first_rows(part: Part) -> Iterator[Any]:
    with contextlib.suppress(UserError):
        yield from (row.value for row in itertools.islice(read_rows(part), SAMPLED_ROWS))


def _strings(value: Any) -> Iterator[str]:
    """Yield all text inside a JSON value, without recursion."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict):
            left.extend(value.values() if isinstance(value, dict) else value)
