"""A tokenizer that encodes text, with a replaceable encoder.

It is loaded once (load.py), reduced to the contents of its tokenizer.json and a few facts, and rebuilt from those in
every worker: no worker needs transformers, the network, or the folder it came from.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from nemotron.data_prep.chat.special_tokens import SpecialTokens
from nemotron.data_prep.tokenizer.encoders import (
    Encode,
    Encoded,
    EncoderName,
    hugging_face,
    make_decoder,
    make_encoder,
)
from nemotron.data_prep.tokenizer.files import ChatTemplates

END_OF_TURN = "<|im_end|>"
CONTROL_TOKENS = ("<|im_start|>", END_OF_TURN)
"""Control tokens of the bundled format."""
BEFORE_TURNS = ("<|im_end|>\n", "<|im_end|>", "Yes", "1", ".", " ", " \n\t", "e\u0301", "<", "</think>\n\n")
"""What may be before a turn: a tokenizer can define that control tokens include the blanks before them."""


_PART_OF_A_CHARACTER = "\ufffd"
_LONGEST_CHARACTER = 4
"""Bytes of UTF-8, and so tokens, that one character takes at most."""


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer and the ids that data prep needs."""

    name: str
    definition: bytes = field(repr=False)
    """The contents of tokenizer.json, in UTF-8."""
    end_id: int
    """`<|im_end|>`, or eos in a tokenizer without it: the last token of an assistant's turn that is trained."""
    eos_id: int
    pad_id: int
    vocab_size: int
    special_tokens_map: Mapping[str, str] = field(default_factory=dict, repr=False)
    """eos_token, bos_token, ... as text, for chat templates."""
    chat_template: ChatTemplates = field(default=None, repr=False)
    """The tokenizer's chat template, or several by name."""
    special: tuple[str, ...] = ()
    """The tokens that tokenizer.json calls special."""
    single_ids: Mapping[str, int | None] = field(default_factory=dict, repr=False)
    """The id of each special token; None if it is encoded as several ids."""
    marks_word_starts: bool = False
    """Whether a mark is written at the beginning of a text that is not in the middle of one (see chunk_ids.py)."""
    is_cut_before_turns: bool = False
    """Whether a text encodes as its pieces do, cut before any <|im_start|>."""
    changes: str = ""
    """How a short text comes back, if letters of it do not come back as they were."""
    encoder: EncoderName = "tokenizers"
    """The library that encodes. It is not part of the digest, because ids do not depend on it (see encoders.py)."""

    @cached_property
    def digest(self) -> str:
        """blake2b-128 over everything that decides which ids come out, in hex."""
        hash = hashlib.blake2b(f"{self.end_id} {self.eos_id} {self.pad_id}\n".encode(), digest_size=16)
        hash.update(self.definition)
        return hash.hexdigest()

    @cached_property
    def definition_digest(self) -> str:
        """SHA-256 of the definition, in hex, under which facts about it are remembered."""
        return hashlib.sha256(self.definition).hexdigest()

    @cached_property
    def special_tokens(self) -> SpecialTokens:
        """The control tokens, which a message must not forge."""
        return SpecialTokens(self.special)

    def encoding_with(self, encoder: EncoderName) -> "Tokenizer":
        """Return this tokenizer with another encoder."""
        other = replace(self, encoder=encoder)
        # They are the same, and hashing takes time.
        other.__dict__.update(digest=self.digest, definition_digest=self.definition_digest)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_encode", "text", "decoder")}

    @cached_property
    def _encode(self) -> Encode:
        return make_encoder(self.encoder, self.definition)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the ids of each text, with special tokens recognised and none added."""
        return self._encode(texts)

    @cached_property
    def text(self) -> Callable[[Sequence[int]], str]:
        """What turns ids into text, by the library that encodes."""
        return make_decoder(self.encoder, self.definition)

    @cached_property
    def decoder(self) -> Any:
        """The library's tokenizer, whose `decode` turns ids into text."""
        return hugging_face(self.definition)

    def pieces(self, ids: Sequence[int]) -> list[list[Any]]:
        """List tokens with their texts: [id, text] each.

        Of a character that several tokens make, the last one has it and the others have no text. What never becomes a
        character is shown by the library's mark.
        """
        found: list[list[Any]] = []
        begun: list[int] = []
        for token in ids:
            begun.append(token)
            text = self.decoder.decode(begun, skip_special_tokens=False)
            if text.endswith(_PART_OF_A_CHARACTER) and len(begun) < _LONGEST_CHARACTER:
                continue
            found += [[part, ""] for part in begun[:-1]]
            found.append([begun[-1], text])
            begun = []
        return found + [[token, self.decoder.decode([token], skip_special_tokens=False)] for token in begun]

    def encode_chunks(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts, as one list per text."""
        ids, lengths = self.encode(texts)
        return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])] if len(lengths) else []
