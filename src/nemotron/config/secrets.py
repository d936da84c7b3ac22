"""Secrets stay out of everything that is printed or written to disk."""

import re
from typing import Any

MASK = "***"
_WORDS = re.compile(r"[^a-z0-9]+")
_SECRET = {"secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey"}
_SECRET_LAST = {"token", "key"}
# A user with a password in any URL, a user alone where that is a token; and tokens by the prefixes of their issuers.
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@|(\bhttps?://)[^\s/@:]+@", re.IGNORECASE)
_TOKENS = re.compile(r"\b(hf_[A-Za-z0-9]{8,}|sk-[\w-]{16,}|nvapi-[\w-]{16,}|gh[pousr]_\w{16,}|AKIA[0-9A-Z]{16})\b")
_HARMLESS_BEFORE = {"pad", "eos", "bos", "unk", "mask", "stop", "text", "prompt", "label", "messages"}


def is_secret(key: str) -> bool:
    """Whether the last part of a dotted key names a secret: `hf_token`, `WANDB_API_KEY`, `db.password`.

    `tokenizer`, `max_tokens` and `eos_token` are not.
    """
    words = [word for word in _WORDS.split(key.rsplit(".", 1)[-1].lower()) if word]
    if not words:
        return False
    if words[-1] in _SECRET_LAST:
        return len(words) == 1 or words[-2] not in _HARMLESS_BEFORE
    return any(word in _SECRET for word in words)


def holds_secret(value: str) -> bool:
    """Tell whether a text has a URL with credentials or a well-known kind of token in it, whatever its key."""
    return mask_text(value) != value


def mask_text(value: str) -> str:
    """Replace what `holds_secret` finds in a text: `s3://KEY:SECRET@bucket` -> `s3://***@bucket`."""
    return _TOKENS.sub(MASK, _CREDENTIALS.sub(lambda found: f"{found[1] or found[2]}{MASK}@", value))


def masked(tree: Any, key: str = "") -> Any:
    """A copy of plain nested values in which every text under a secret's key is `***`, and credentials in any other."""
    if isinstance(tree, dict):
        return {name: masked(child, f"{key}.{name}") for name, child in tree.items()}
    if isinstance(tree, list):
        return [masked(child, key) for child in tree]
    if isinstance(tree, str):
        return MASK if tree and is_secret(key) else mask_text(tree)
    return tree
