"""Encode text with one of two libraries, and choose between them.

Hugging Face's `tokenizers` is the reference. `gigatoken` gives the same ids about thirty times faster for the
byte-level BPE tokenizers that it supports. It is used only if both agree for this tokenizer on a sample of the run's
text.
"""

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from nemotron.data_prep.tokenizer.files import read_added_tokens

EncoderName = Literal["gigatoken", "tokenizers"]
SAMPLE_CHARACTERS = 200_000
"""How much of the run's text both libraries encode before the fast one is used; this takes about 0.1 s."""
PIECE_CHARACTERS = 2_000

ASKED_SEPARATORS = 8
"""How many control tokens are tested for standing alone. Usually the first one separates all texts of a run."""

# Text on which tokenizers tend to disagree: runs of spaces, digits, contractions, marks, scripts without spaces,
# emoji of several characters, control characters, and text that is almost a special token.
PROBES = (
    "", " ", "  ", "\n", " \n\n \t\n", "\r\n", "a  b   c    d", "trailing   ", "\u00a0\u2003\u3000x",
    "I'll we're THEY'VE don’t", "camelCaseHTTPServer snake_case __init__", "1 12 123 1234567890 3.14e-10 ١٢٣ ²³",
    "if (a<b) { return a->b[0]; } // x\n\tfor i in range(10):\n        pass\n",
    "中文字符，日本語のテキスト。한국어 ไทย हिन्दी العربية עברית Ελληνικά русский",
    "e\u0301 é n\u0303 ñ A\u030a Å ﬁ ﷺ", "👍🏽 👩‍👩‍👧‍👦 🇫🇷 ♥️", "\x00\x01\x7f\u200b\ufeff\ufffd", "\U0010ffff",
    "<|im_start|><|im_end|>", " <|im_end|>\n", "<|im_end|", "<|im_start|> <|im_end |>", "<think></think>", "<think",
    "<tool_call>\n<function=f>\n</tool_call>", "</s><s>[INST]",
)  # fmt: skip


class Encoded(NamedTuple):
    """A batch of texts as flat token ids; text `i` has `lengths[i]` of them."""

    ids: np.ndarray  # int32 [tokens]
    lengths: np.ndarray  # int64 [texts]


Encode = Callable[[Sequence[str]], Encoded]
"""Returns the ids of each text, with special tokens recognised and none added."""


class EncoderChoice(NamedTuple):
    """The library that encodes, and if it is not the requested one, the reason."""

    name: EncoderName
    reason: str = ""


def make_encoder(name: EncoderName, definition: bytes) -> Encode:
    """Return the encoder of a library for the contents of a tokenizer.json.

    Exceptions of the library are not caught.
    """
    return _gigatoken(definition) if name == "gigatoken" else _tokenizers(hugging_face(definition))


@functools.lru_cache(maxsize=2)  # a large vocabulary takes half a second to load, and a run needs it several times
def hugging_face(definition: bytes) -> Any:
    """Load the `tokenizers.Tokenizer` of a file, without truncation and padding."""
    # Set before the library starts threads, because there are many workers with one thread each.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    text = definition.decode()
    with _no_panic_messages():
        backend = Tokenizer.from_str(text)
    backend.no_truncation()
    backend.no_padding()
    return backend


@contextlib.contextmanager
def _no_panic_messages() -> Iterator[None]:
    """Hide what Rust prints when it panics, because the same is raised."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _tokenizers(backend: Any) -> Encode:
    def encode(texts: Sequence[str]) -> Encoded:
        rows = [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        return Encoded(np.fromiter(itertools.chain.from_iterable(rows), np.int32, int(lengths.sum())), lengths)

    return encode


def make_decoder(name: EncoderName, definition: bytes) -> Callable[[Sequence[int]], str]:
    """Return a function that turns ids into text, including special tokens."""
    if name == "gigatoken":
        backend = _gigatoken_backend(definition)
        return lambda ids: backend.decode(list(ids)).decode(errors="replace")
    return lambda ids: hugging_face(definition).decode(ids, skip_special_tokens=False)


@functools.lru_cache(maxsize=2)
def _gigatoken_backend(definition: bytes) -> Any:
    import gigatoken

    return gigatoken.Tokenizer.from_json(definition)


@functools.lru_cache(maxsize=2)
def _gigatoken(definition: bytes) -> Encode:
    backend = _gigatoken_backend(definition)
    separators = {name.encode(): separator for name, separator in _find_separators(definition).items()}

    def encode(texts: Sequence[str]) -> Encoded:
        # The texts are joined to one, with a control token between them that none of them has: a batch would come back
        # as an awkward array, which is slow to import and to take apart. They are encoded as UTF-8 first, because one
        # text that is not ASCII would make the whole string two or four times as wide.
        pieces = [text.encode() for text in texts]
        for name, separator in separators.items():
            joined = name.join(pieces)
            if not separator.stands_alone and joined.count(name) != len(texts) - 1:
                continue
            ids = backend.encode(joined).view(np.int32)
            is_text = ids != separator.id
            ends = np.append(np.flatnonzero(~is_text), len(ids))
            if len(ends) == len(texts):
                return Encoded(ids[is_text], np.diff(ends, prepend=-1) - 1)
        rows = [backend.encode(text) for text in texts]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return Encoded(np.concatenate([np.zeros(0, np.uint32), *rows]).view(np.int32), lengths)

    return encode


class Separator(NamedTuple):
    """A control token that is the same whatever text surrounds it."""

    id: int
    stands_alone: bool
    """Whether it cannot share characters with another added token.

    Then it is always encoded as itself, so the ids show whether one of the texts has it. Otherwise the texts must be
    searched for it.
    """


def _find_separators(definition: bytes) -> dict[str, Separator]:
    """Find control tokens to write between texts, by name."""
    flags = ("lstrip", "rstrip", "single_word", "normalized")
    added = list(read_added_tokens(definition))
    names = [token["content"] for token in added if token["content"]]
    found: dict[str, Separator] = {}
    for token in added:
        if token.get("special") and token["content"] and not any(map(token.get, flags)):
            alone = len(found) < ASKED_SEPARATORS and _stands_alone(token["content"], names)
            found[token["content"]] = Separator(token["id"], alone)
    return found


def _stands_alone(name: str, names: Iterable[str]) -> bool:
    """Tell whether a token cannot overlap with itself or with other tokens."""
    first, rest = name[0], name[1:]
    return first not in rest and not any(
        first in other[1:] or other[0] in rest or other.startswith(name) or name.startswith(other)
        for other in names
        if other != name
    )


def load_fast(definition: bytes) -> None:
    """Load the fast encoder of a tokenizer.json, for a process that forks.

    It does not encode, which would start threads.
    """
    _gigatoken(definition)


def fast_ids(definition: bytes, texts: Sequence[str]) -> Encoded | str:
    """Return the ids that `gigatoken` gives, or why it fails, in one clause."""
    try:
        encode = make_encoder("gigatoken", definition)
    except Exception as error:  # the library raises a plain RuntimeError for anything that it does not support
        return f"gigatoken does not support this tokenizer: {_first_line(error)}"
    try:
        return encode(texts)
    except Exception as error:
        return f"gigatoken fails: {_first_line(error)}"


def choose_encoder(
    wanted: str,
    definition: bytes,
    sample: Iterable[str],
    fast_ids: Callable[[bytes, Sequence[str]], Encoded | str] = fast_ids,
) -> EncoderChoice:
    """Choose the fastest encoder with correct ids; `wanted` is `auto` or a name.

    `gigatoken` is compared with `tokenizers` on PROBES and on `sample` (see `take_pieces`). If there is a difference,
    or if it does not support the tokenizer or fails, `tokenizers` is chosen, with the reason. `fast_ids` computes its
    ids, in this process or in workers.
    """
    if wanted == "tokenizers":
        return EncoderChoice("tokenizers")
    texts = [*PROBES, *sample]
    # First, because the workers that are asked below may still be starting.
    try:
        with _no_panic_messages():
            true = make_encoder("tokenizers", definition)(texts)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic; when tokenizing, it costs the row
        return EncoderChoice("tokenizers", f"tokenizers fails on a text: {_first_line(error)}")
    found = fast_ids(definition, texts)
    if isinstance(found, str):
        return EncoderChoice("tokenizers", found)
    difference = _first_difference(found, true, texts)
    if difference is not None:
        return EncoderChoice("tokenizers", f"gigatoken encodes {difference!r} differently")
    return EncoderChoice("gigatoken")


def join(parts: Sequence[Encoded | str]) -> Encoded | str:
    """Join batches to one batch, or return the first reason for a failure."""
    reason = next((part for part in parts if isinstance(part, str)), None)
    if reason is not None:
        return reason
    batches = [part for part in parts if not isinstance(part, str)]
    return Encoded(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def _first_difference(found: Encoded, expected: Encoded, texts: Sequence[str]) -> str | None:
    """Return the first text with different ids, shortened, or None."""
    if np.array_equal(found.ids, expected.ids) and np.array_equal(found.lengths, expected.lengths):
        return None
    pairs = zip(_rows(found), _rows(expected), texts, strict=True)
    return next(text[:60] for here, there, text in pairs if not np.array_equal(here, there))


def _rows(encoded: Encoded) -> list[np.ndarray]:
    return np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1])


def take_pieces(sample: Iterable[str]) -> Iterator[str]:
    """Take up to SAMPLE_CHARACTERS of text, in pieces.

    The pieces are short, so that one long text is not the whole sample.
    """
    left = SAMPLE_CHARACTERS
    for text in sample:
        yield text[:PIECE_CHARACTERS]
        left -= min(len(text), PIECE_CHARACTERS)
        if left <= 0:
            return


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
