"""Find facts about a tokenizer, and refuse one that cannot be used.

Its library takes half a second to load a large vocabulary, so load.py remembers them.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from nemotron.data_prep.tokenizer.encoders import hugging_face
from nemotron.data_prep.tokenizer.files import (
    COPY_AGAIN,
    LONGEST_ADDED_TOKEN,
    check_added_tokens,
    read_added_tokens,
)
from nemotron.data_prep.tokenizer.tokenizer import BEFORE_TURNS, CONTROL_TOKENS, END_OF_TURN
from nemotron.errors import UserError

MOST_STEPS = 200
"""Steps of a normalizer or a pre-tokenizer; known ones have 30."""
MOST_GROWTH = 100
"""How many times as long a normalizer may make a text; one sign of Unicode becomes 18 at most."""
_SENTENCE = "Is it a{1}; if B == 7? Caf\u00e9!"
_PROBE = "".join(map(chr, range(32, 127)))


def find_facts(name: str, definition: bytes, special_tokens: dict[str, str]) -> dict[str, Any]:
    """Load a tokenizer, and find what Tokenizer has fields for."""
    check_added_tokens(definition, name)
    with _explain_failures(name):
        backend = hugging_face(definition)
        vocab: dict[str, int] = backend.get_vocab()
    _check_ids(definition, vocab, name)
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
        with _explain_failures(name):
            return backend.encode(text, add_special_tokens=False).ids

    turn = f"{CONTROL_TOKENS[0]}user\nAnd then?"
    encoded = {token: encode(token) for token in (*special, *CONTROL_TOKENS, *filter(None, [eos]))}
    return {
        "end_id": end_id, "eos_id": eos_id, "pad_id": pad_id, "vocab_size": vocab_size, "special": special,
        "single_ids": {token: ids[0] if len(ids) == 1 else None for token, ids in encoded.items()},
        "marks_word_starts": encode("\na") != encode("\n") + encode("a"),
        "is_cut_before_turns": all(encode(before + turn) == encode(before) + encode(turn) for before in BEFORE_TURNS),
        "changes": _describe_changes(backend),
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
    _check_steps(backend, name)
    if backend.normalizer is not None:
        _check_normalizer(backend.normalizer, name)


def _check_ids(definition: bytes, vocab: Mapping[str, int], name: str) -> None:
    """Check that the library's ids have no large gaps and match tokenizer.json.

    Raises:
        UserError: They do not; the message has the token and the id.
    """
    token, largest = max(vocab.items(), key=lambda item: item[1], default=("", 0))
    if largest > 2 * len(vocab) + 100_000:
        problem = f"gives {token!r} the id {largest:,}, far beyond its {len(vocab):,} tokens"
        raise UserError(f"The tokenizer {name} {problem}.", COPY_AGAIN)
    for added in read_added_tokens(definition):
        found = vocab.get(str(added.get("content")))
        if found is not None and found != added.get("id"):
            raise UserError(
                f"The tokenizer {name} lists the added token {added['content']!r} with the id {added.get('id')}, which "
                f"is not its place in the vocabulary of {len(vocab):,} tokens ({found}).",
                COPY_AGAIN,
            )


@contextlib.contextmanager
def _explain_failures(name: str) -> Iterator[None]:
    """Explain errors and panics of the library in a `with` block.

    Raises:
        UserError: There was one.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError, UserError):
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{name}/tokenizer.json is not UTF-8 text: {error.reason}.", COPY_AGAIN) from None
    except BaseException as error:  # the library raises plain Exception, and a panic is not even that
        raise UserError(f"The tokenizer {name} has a broken tokenizer.json: {error}.", COPY_AGAIN) from None


def _check_steps(backend: Any, name: str) -> None:
    """Refuse a tokenizer of so many steps that each text would take it seconds.

    Raises:
        UserError: It has them; the message has the number.
    """
    for kind in ("normalizer", "pre_tokenizer"):
        count = len(_list_steps(getattr(backend, kind)))
        if count > MOST_STEPS:
            problem = f"has {count:,} steps; no tokenizer has more than {MOST_STEPS}"
            raise UserError(f"The {kind} of the tokenizer {name} {problem}.", COPY_AGAIN)


def _check_normalizer(normalizer: Any, name: str) -> None:
    """Refuse a normalizer of the library that makes a text many times as long.

    Its steps are tried one by one on a short text, because each may multiply what the one before made.

    Raises:
        UserError: It does, or a step writes a text longer than any token; the message has the numbers.
    """
    steps = _list_steps(normalizer)
    described = [json.loads(step.__getstate__()) for step in steps]
    for step in described:
        written = step.get("content") or step.get("prepend") or ""
        if len(written) > LONGEST_ADDED_TOKEN:
            problem = f"writes {len(written):,} characters, {written[:20]!r}..."
            raise UserError(f"The normalizer of the tokenizer {name} {problem}", COPY_AGAIN)
    patterns = ["".join(step.get("pattern", {}).values()) for step in described]
    probe = _PROBE + "".join(dict.fromkeys(each for each in patterns if len(each) <= LONGEST_ADDED_TOKEN))
    text = probe
    for step in steps:
        with _explain_failures(name):
            text = step.normalize_str(text)
        if len(text) > MOST_GROWTH * len(probe):
            problem = f"makes {len(text):,} characters of {len(probe):,}"
            raise UserError(f"The normalizer of the tokenizer {name} {problem}.", COPY_AGAIN)


def _describe_changes(backend: Any) -> str:
    """Describe how a short text comes back from ids: `"is it 7?" of "Is It 7?"`.

    Blanks are not compared, because many tokenizers add or join some.

    Returns:
        Nothing if it comes back, or if the tokenizer has no decoder to tell.
    """
    if backend.decoder is None:
        return ""
    back = backend.decode(backend.encode(_SENTENCE, add_special_tokens=False).ids, skip_special_tokens=False)
    return "" if "".join(back.split()) == "".join(_SENTENCE.split()) else f'"{back}" of "{_SENTENCE}"'


def _list_steps(part: Any) -> list[Any]:
    """List the steps of a part; of one that is no sequence, itself."""
    if not hasattr(part, "__getitem__"):
        return [part]
    return [step for each in part for step in _list_steps(each)]
