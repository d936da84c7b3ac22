"""Load a tokenizer and encode text, with a replaceable encoder.

A tokenizer is loaded once from wherever it is named, reduced to the contents of its tokenizer.json and a few ids, and
rebuilt from those in every worker: no worker needs transformers, the network, or the folder it came from.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nemotron.data_prep.chat.special_tokens import SpecialTokens
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenization.encoders import (
    Encode,
    Encoded,
    EncoderName,
    hugging_face,
    make_decoder,
    make_encoder,
)
from nemotron.data_prep.tokenization.tokenizer_files import (
    SPECIAL_TOKENS,
    ChatTemplates,
    check_added_tokens,
    check_ids,
    check_normalizer,
    check_steps,
    describe_changes,
    explain_failures,
    read_definition,
    read_settings,
)
from nemotron.doctor import is_hub_offline, is_hub_reachable
from nemotron.errors import UserError
from nemotron.paths import is_path
from nemotron.user_cache import recall, remember, version_of

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


def load_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """Load a tokenizer from a folder, or by its Hugging Face id.

    Facts about it are remembered, because the library takes half a second to load a large vocabulary.

    Raises:
        UserError: There is no tokenizer, or it has no token that could end a turn.
    """
    path = Path(config.model)
    if (path / "tokenizer.json").is_file() and not config.trust_remote_code:
        definition = read_definition(path)
        special_tokens, chat_template = read_settings(path)
    elif is_path(config.model) and not (path.is_dir() and config.trust_remote_code):
        problem = "has no tokenizer.json" if path.exists() else "does not exist"
        raise UserError(
            f"The tokenizer folder {path} {problem}.",
            "Set tokenizer.model to a folder with tokenizer.json, or to a Hugging Face id.",
        )
    else:
        definition, special_tokens, chat_template = _from_hub(config)
    return _describe(config.model, definition, special_tokens, chat_template)


def _describe(name: str, definition: bytes, special_tokens: dict[str, str], chat_template: ChatTemplates) -> Tokenizer:
    settings = " ".join(f"{key}={token}" for key, token in sorted(special_tokens.items()))
    digest = hashlib.sha256(definition).hexdigest()
    key = f"4 {version_of('tokenizers')} {digest} {settings}"
    facts = recall("tokenizers", key)
    if facts is None:
        facts = _find_facts(name, definition, special_tokens)
        remember("tokenizers", key, facts)
    tokenizer = Tokenizer(
        name, definition, special_tokens_map=special_tokens, chat_template=chat_template,
        **{**facts, "special": tuple(facts["special"])},
    )  # fmt: skip
    tokenizer.__dict__["definition_digest"] = digest
    return tokenizer


def _find_facts(name: str, definition: bytes, special_tokens: dict[str, str]) -> dict[str, Any]:
    """Load a tokenizer, and find what Tokenizer has fields for."""
    check_added_tokens(definition, name)
    with explain_failures(name):
        backend = hugging_face(definition)
        vocab: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    check_ids(definition, vocab, name)
    _check_behaviour(backend, name)
    if (eos := special_tokens.get("eos_token")) and eos not in vocab:
        hint = "Set eos_token in its tokenizer_config.json to a token of its vocabulary."
        raise UserError(f"The eos_token {eos!r} of the tokenizer {name} is not one of its {len(vocab):,} tokens.", hint)
    eos_id = vocab.get(eos or END_OF_TURN)
    end_id = vocab.get(END_OF_TURN, eos_id)
    if eos_id is None or end_id is None:
        raise UserError(
            f"The tokenizer {name} has neither {END_OF_TURN} nor an eos token.",
            "Set eos_token in its tokenizer_config.json to the token that ends an answer.",
        )
    pad_id = vocab.get(special_tokens.get("pad_token") or "", eos_id)
    vocab_size = max(vocab.values()) + 1
    special = tuple(token.content for token in backend.get_added_tokens_decoder().values() if token.special)

    def encode(text: str) -> list[int]:
        with explain_failures(name):
            return backend.encode(text, add_special_tokens=False).ids

    turn = f"{CONTROL_TOKENS[0]}user\nAnd then?"
    encoded = {token: encode(token) for token in (*special, *CONTROL_TOKENS, *filter(None, [eos]))}
    return {
        "end_id": end_id, "eos_id": eos_id, "pad_id": pad_id, "vocab_size": vocab_size, "special": special,
        "single_ids": {token: ids[0] if len(ids) == 1 else None for token, ids in encoded.items()},
        "marks_word_starts": encode("\na") != encode("\n") + encode("a"),
        "is_cut_before_turns": all(encode(before + turn) == encode(before) + encode(turn) for before in BEFORE_TURNS),
        "changes": describe_changes(backend),
    }  # fmt: skip


def _check_behaviour(backend: Any, name: str) -> None:
    """Refuse a tokenizer that is random, slow, or makes millions of tokens of a text.

    Raises:
        UserError: It is one.
    """
    if dropout := getattr(backend.model, "dropout", None):
        raise UserError(
            f"The tokenizer {name} has dropout {dropout:g}: it encodes the same text differently every time.",
            "Set dropout to null in the model of its tokenizer.json.",
        )
    check_steps(backend, name)
    if backend.normalizer is not None:
        check_normalizer(backend.normalizer, name)


_TOKENIZER_HINT = (
    "Check the name and your network, or set tokenizer.model to a folder with tokenizer.json. "
    "To try things out, -c tiny has a small one."
)


def _is_cached(config: TokenizerConfig) -> bool:
    """Look for a tokenizer in the hub's cache.

    An impossible name is left to the library to explain.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(config.model, "tokenizer_config.json", revision=config.revision), str)
    except ValueError:
        return True


def _from_hub(config: TokenizerConfig) -> tuple[bytes, dict[str, str], ChatTemplates]:
    cache_only = not Path(config.model).is_dir() and not is_hub_offline() and not is_hub_reachable()
    if cache_only and not _is_cached(config):
        raise UserError(
            f"Cannot load the tokenizer {config.model}: the hub does not answer, and the cache has no copy.",
            _TOKENIZER_HINT,
        )
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(
            config.model,
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            local_files_only=cache_only,
        )
        definition = loaded.backend_tokenizer.to_str().encode()
    except AttributeError:
        raise UserError(
            f"The tokenizer {config.model} has no fast form.", "Convert it to a tokenizer.json first."
        ) from None
    except Exception as error:  # transformers may raise anything for arbitrary files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"Cannot load the tokenizer {config.model}: {reason}", _TOKENIZER_HINT) from None
    template = loaded.chat_template
    special_tokens = {key: str(token) for key, token in loaded.special_tokens_map.items() if key in SPECIAL_TOKENS}
    return definition, special_tokens, template if isinstance(template, str | dict) else None
