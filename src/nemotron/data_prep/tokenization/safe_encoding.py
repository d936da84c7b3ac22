"""Encode so that a failure drops only one row.

The libraries' regular expressions fail on some texts, for example ten million capital letters. `tokenizers` then
panics, which is a BaseException in Python, while `gigatoken` may encode the text. A text is only used if both can
encode it, so that the output does not depend on the encoder.
"""

import contextlib
from collections.abc import Iterator, Sequence

from nemotron.data_prep.chat.special_tokens import cut_at_marks
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.tokenization.chunk_ids import encode_chunks
from nemotron.data_prep.tokenizer.encoders import Encoded, hugging_face
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer

LONG_TEXT = 1_000_000
"""Longer texts are also encoded by `tokenizers`, which fails after about ten million steps of one match."""


def encode_safely(
    texts: Sequence[str], chunk_counts: Sequence[int], tokenizer: Tokenizer, *, may_be_cut: bool
) -> Encoded:
    """Encode the chunks of sequences, see `encode_chunks`.

    Raises:
        RowError: not_encoded: the library that encodes fails on one of the texts.
    """
    with failures_cost_their_row():
        if (long := [text for text in texts if len(text) >= LONG_TEXT]) and tokenizer.encoder != "tokenizers":
            backend = hugging_face(tokenizer.definition)
            for text in long:
                backend.encode_batch_fast(cut_at_marks(text) if may_be_cut else [text], add_special_tokens=False)
        return encode_chunks(texts, chunk_counts, tokenizer, may_be_cut=may_be_cut)


@contextlib.contextmanager
def failures_cost_their_row() -> Iterator[None]:
    """Turn exceptions and panics of the libraries into a RowError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        if isinstance(error, Exception) and type(error) not in (Exception, RuntimeError):
            raise  # a bug in this program
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RowError(DropReason.NOT_ENCODED, f"the tokenizer's library fails on a text: {reason}") from error
