"""Encode chunks, which are pieces of one text, alone or as parts of the whole.

Chunks are encoded one by one, so that the boundary between a prompt and its answer is a token boundary, as at
inference. A tokenizer that marks the starts of words (SentencePiece's, of Llama 2 and the first Mistral) would then
write a mark, which means a space, before every chunk. For such a tokenizer, the whole sequence is encoded, and each
token is assigned to the chunk in which it ends, so that an answer loses nothing to its prompt.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from nemotron.data_prep.chat.special_tokens import cut_at_marks
from nemotron.data_prep.tokenizer.encoders import Encoded, hugging_face
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer

_AHEAD = "\n"
"""Written before text from the middle of a sequence, to take the mark that any text gets at its beginning."""


def encode_chunks(
    texts: Sequence[str], chunk_counts: Sequence[int], tokenizer: Tokenizer, *, may_be_cut: bool
) -> Encoded:
    """Encode the chunks of sequences.

    Args:
        texts: The texts of the chunks of all sequences.
        chunk_counts: How many chunks each sequence has; their sum is the number of texts.
        tokenizer: What encodes them.
        may_be_cut: Whether texts may have the marks of split control tokens, at which they are cut.

    Returns:
        The ids, int32 [tokens], and how many each chunk has, int64 [chunks].
    """
    if tokenizer.marks_word_starts:
        return _encode_whole(texts, chunk_counts, tokenizer.definition)
    if not may_be_cut:
        return tokenizer.encode(texts)
    cut = [cut_at_marks(text) for text in texts]
    ids, lengths = tokenizer.encode([piece for text in cut for piece in text])
    of_text = np.repeat(np.arange(len(cut)), [len(text) for text in cut])
    return Encoded(ids, np.bincount(of_text, lengths, len(cut)).astype(np.int64))


def _encode_whole(texts: Sequence[str], chunk_counts: Sequence[int], definition: bytes) -> Encoded:
    encoded = list(_each_sequence(texts, chunk_counts, definition))
    if not encoded:
        return Encoded(np.zeros(0, np.int32), np.zeros(0, np.int64))
    return Encoded(*(np.concatenate(arrays) for arrays in zip(*encoded, strict=True)))


def _each_sequence(texts: Sequence[str], chunk_counts: Sequence[int], definition: bytes) -> Iterator[Encoded]:
    first = 0
    for count in chunk_counts:
        chunks = [cut_at_marks(text) for text in texts[first : first + count]]
        first += count
        borders = np.cumsum([sum(map(len, chunk)) for chunk in chunks])
        ids, ends = _encode_stretches(_stretches(chunks), definition)
        chunk = np.searchsorted(borders, ends, side="left").clip(max=max(count - 1, 0))
        yield Encoded(ids, np.bincount(chunk, minlength=count).astype(np.int64))


def _stretches(chunks: Sequence[Sequence[str]]) -> list[str]:
    """Join the text of all chunks, cut only where a control token was split."""
    stretches = [""]
    for chunk in chunks:
        stretches[-1] += chunk[0]
        stretches += chunk[1:]
    return stretches


def _encode_stretches(stretches: Sequence[str], definition: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Encode a text that is cut into pieces.

    Also returns where each token ends in the text, in characters.
    """
    backend = hugging_face(definition)
    ids: list[int] = []
    ends: list[int] = []
    begin = 0
    for number, stretch in enumerate(stretches):
        ahead = _AHEAD if number else ""
        encoding = backend.encode(ahead + stretch, add_special_tokens=False)
        skipped = sum(end <= len(ahead) for _, end in encoding.offsets) if ahead else 0
        ids += encoding.ids[skipped:]
        ends += [begin - len(ahead) + end for _, end in encoding.offsets[skipped:]]
        begin += len(stretch)
    return np.array(ids, np.int32), np.maximum.accumulate(np.array(ends, np.int64))
