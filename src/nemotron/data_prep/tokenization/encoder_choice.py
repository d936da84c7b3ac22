"""The choice of the encoder for a run, on a sample of its own text: made when tokenizing starts."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nemotron.data_prep.config import EncoderSetting
from nemotron.data_prep.sources import Part, read_rows
from nemotron.data_prep.tokenization.encoders import Encoded, EncoderChoice, choose_encoder
from nemotron.data_prep.tokenization.tokenizer import Tokenizer
from nemotron.errors import UserError

SAMPLED_ROWS = 200
"""Rows of every dataset that may be encoded twice, to choose the encoder."""


def choose_for_run(
    wanted: EncoderSetting,
    tokenizer: Tokenizer,
    first_parts: Sequence[Part],
    ids_by: Callable[[str, Sequence[str]], Encoded | str],
) -> EncoderChoice:
    """Choose the fastest encoder that gives the true ids of the first rows of every dataset.

    Args:
        wanted: The config's encoder.
        tokenizer: What is to be encoded with.
        first_parts: The first part of every dataset.
        ids_by: `fast_ids`, or several processes that do it together.
    """
    return choose_encoder(wanted, tokenizer.definition, _sample_texts(first_parts), ids_by)


def _sample_texts(first_parts: Sequence[Part]) -> Iterator[str]:
    """Text of the first rows of every dataset, in turn. A file that cannot be read is reported when its turn comes."""
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
