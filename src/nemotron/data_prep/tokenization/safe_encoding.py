"""Encoding of which a failure costs one row.

The library's regular expressions give up on some texts.

Ten million capitals are one such text. `tokenizers` then panics, which Python sees as a BaseException; `gigatoken` may
encode the same text. So that the output does not depend on the encoder, a text is encoded only where both can.
"""

import contextlib
from collections.abc import Iterator, Sequence

from nemotron.data_prep.chat.special_tokens import cut_at_marks
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.tokenization.chunk_ids import encode_chunks
from nemotron.data_prep.tokenization.encoders import Encoded, hugging_face
from nemotron.data_prep.tokenization.tokenizer import Tokenizer

LONG_TEXT = 1_000_000
"""Characters of a text that `tokenizers` is asked for too: it gives up after some ten million steps of one match."""


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
    """Make a RowError of what the libraries raise.

    Plain exceptions, RuntimeError, and panics.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        if isinstance(error, Exception) and type(error) not in (Exception, RuntimeError):
            raise  # a fault of this program
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RowError(DropReason.NOT_ENCODED, f"the tokenizer's library fails on a text: {reason}") from error
