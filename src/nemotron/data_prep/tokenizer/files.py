"""Read and check the files of a tokenizer's folder, before a library loads them."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from nemotron.data_prep.chat.template import DEFAULT, read_source
from nemotron.errors import UserError
from nemotron.files.regular_files import read_bytes

COPY_AGAIN = "Copy the tokenizer's files from their source again, or set tokenizer.model to another folder."
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
LARGEST_DEFINITION = 512 * 2**20
"""The most bytes of tokenizer.json; the largest known ones have 35 MB."""
LARGEST_SETTINGS = 64 * 2**20
"""The most bytes of tokenizer_config.json; the largest known ones have 1.2 MB."""
LARGEST_ID = 10_000_000
"""Libraries allocate tables with as many rows as the largest id. Known vocabularies have 300,000 tokens."""
LONGEST_ADDED_TOKEN = 1_000
"""Characters; known ones have 40. The library takes the square of this time: half a minute for 10,000."""
ADDED_TOKENS_BYTES = 2**17
"""Of tokenizer.json, read to find its added tokens; more if that does not have all of them."""
_LONG_NUMBER = re.compile(rb":\s*\d{%d,}" % len(str(LARGEST_ID)))
_ADDED_TOKENS = re.compile(rb'"added_tokens"\s*:\s*(?=\[)')

ChatTemplates = str | dict[str, str] | None
"""A tokenizer's chat template, or several by name."""


def read_definition(folder: Path) -> bytes:
    """Return the contents of a tokenizer's tokenizer.json.

    Line ends are newlines. It is bytes, because decoding takes longer than hashing, and the fast encoder would encode
    text again.

    Raises:
        OSError: There is none.
        UserError: The file has a size or ids that no tokenizer has.
    """
    content = _read(folder / "tokenizer.json", LARGEST_DEFINITION)
    if _LONG_NUMBER.search(content):
        _check_largest_id(content, str(folder))
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def read_ids(definition: bytes) -> dict[str, int]:
    """Read the id of each token from a tokenizer.json, added tokens included."""
    described = json.loads(definition)
    vocabulary = described["model"]["vocab"]
    if isinstance(vocabulary, list):  # in a Unigram model: [token, score] in order
        vocabulary = {token: index for index, (token, _) in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: token["id"] for token in described.get("added_tokens", ())}}


def read_settings(folder: Path) -> tuple[dict[str, str], ChatTemplates]:
    """Read the named special tokens and the chat templates of a tokenizer.

    They are in the files next to tokenizer.json.

    Raises:
        UserError: A file is broken, or has a value of the wrong type.
    """
    special_tokens: dict[str, str | None] = {}
    templates: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        settings = _read_object(folder / name)
        special_tokens |= {key: _token(settings[key], key, folder / name) for key in SPECIAL_TOKENS if key in settings}
        templates |= _named_templates(settings.get("chat_template"), folder / name)
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[path.stem] = read_source(path)
    if (folder / "chat_template.jinja").is_file():
        templates[DEFAULT] = read_source(folder / "chat_template.jinja")
    named = {key: token for key, token in special_tokens.items() if token is not None}
    return named, templates.get(DEFAULT) if templates.keys() <= {DEFAULT} else templates


def check_added_tokens(definition: bytes, name: str) -> None:
    """Refuse an added token that would take the library minutes to load.

    Raises:
        UserError: One is too long; the message has how it begins.
    """
    try:
        contents = [token["content"] for token in read_added_tokens(definition)]
        longest = max(contents, key=len, default="")
    except (ValueError, TypeError, KeyError, RecursionError):
        return  # a broken file, which the library will report
    if len(longest) > LONGEST_ADDED_TOKEN:
        problem = f"has an added token of {len(longest):,} characters, {longest[:20]!r}..."
        raise UserError(f"The tokenizer {name} {problem}; no token has more than {LONGEST_ADDED_TOKEN:,}.", COPY_AGAIN)


def _read(path: Path, largest: int) -> bytes:
    if (size := path.stat().st_size) > largest:
        raise UserError(f"{path} has {size:,} bytes, more than any tokenizer's ({largest:,}).", COPY_AGAIN)
    return read_bytes(path)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(_read(path, LARGEST_SETTINGS))
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno} is not valid JSON: {error.msg}.", COPY_AGAIN) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object.", COPY_AGAIN)
    return content


def _token(value: Any, key: str, path: Path) -> str | None:
    """Return a special token: text, or an object with its text under `content`."""
    token = value.get("content") if isinstance(value, dict) else value
    if token is not None and not isinstance(token, str):
        raise UserError(f"{path}: {key} is {json.dumps(value)[:80]}, not the text of a token.", COPY_AGAIN)
    return token


def _named_templates(value: Any, path: Path) -> dict[str, str]:
    """Read the templates of a settings file: text, or objects with name and template."""
    if value is None:
        return {}
    named = [{"name": DEFAULT, "template": value}] if isinstance(value, str) else value
    if not isinstance(named, list) or not all(_is_named_template(entry) for entry in named):
        problem = "neither text nor a list of objects with name and template"
        raise UserError(f"{path}: chat_template is {json.dumps(value)[:80]}, {problem}.", COPY_AGAIN)
    return {entry["name"]: entry["template"].removeprefix("\ufeff") for entry in named}


def _is_named_template(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("name", "template"))


def _check_largest_id(definition: bytes, name: str) -> None:
    """Refuse an id that would take too much memory and crash the fast encoder."""
    try:
        content = orjson.loads(definition)
        vocab = content["model"]["vocab"]
        ids = vocab.items() if isinstance(vocab, dict) else ()
        added = ((token["content"], token["id"]) for token in content.get("added_tokens") or ())
        found = next(((token, id) for token, id in [*ids, *added] if id >= LARGEST_ID), None)
    except (ValueError, TypeError, KeyError, AttributeError):
        return  # a broken file, which the library will report
    if found is not None:
        raise UserError(
            f"The tokenizer {name} gives {found[0]!r} the id {found[1]:,}; no vocabulary has {LARGEST_ID:,} tokens.",
            COPY_AGAIN,
        )


def read_added_tokens(definition: bytes) -> Iterable[dict[str, Any]]:
    """Read the added tokens of a tokenizer.json, but not its large vocabulary."""
    found = _ADDED_TOKENS.search(definition)
    if found is None:
        return []
    end, read = found.end(), ADDED_TOKENS_BYTES
    while True:
        try:
            return json.JSONDecoder().raw_decode(definition[end : end + read].decode(errors="ignore"))[0]
        except json.JSONDecodeError:
            if end + read >= len(definition):
                raise
            read *= 8  # there are many
