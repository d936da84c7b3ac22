"""Secrets stay out of everything that is printed or written to disk."""

import re
from typing import Any

MASK = "***"
_WORDS = re.compile(r"[^a-z0-9]+")
_SECRET = {"secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey"}
_SECRET_LAST = {"token", "key"}
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


def masked(tree: Any, key: str = "") -> Any:
    """A copy of plain nested values in which every text under a secret's key is `***`."""
    if isinstance(tree, dict):
        return {name: masked(child, f"{key}.{name}") for name, child in tree.items()}
    if isinstance(tree, list):
        return [masked(child, key) for child in tree]
    return MASK if isinstance(tree, str) and tree and is_secret(key) else tree
