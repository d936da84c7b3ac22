"""Keep secrets out of everything that is printed or written to disk.

A value is a secret because of its key, its form or its origin: the value of a variable such as HF_TOKEN, or of a key
such as `api_key`, is a secret wherever it appears.
"""

import os
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

MASK = "***"
_WORDS = re.compile(r"[^a-z0-9]+")
_SECRET = {"secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey"}
_SECRET_LAST = {"token", "key"}
# A user with a password in any URL, or a user alone in a web URL, which may be a token; and tokens by known prefixes.
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@|(\bhttps?://)[^\s/@:]+@", re.IGNORECASE)
_PASSWORDS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:([^\s/@]+)@", re.IGNORECASE)
_TOKENS = re.compile(r"\b(hf_[A-Za-z0-9]{8,}|sk-[\w-]{16,}|nvapi-[\w-]{16,}|gh[pousr]_\w{16,}|AKIA[0-9A-Z]{16})\b")
_PUBLIC_VARIABLE = re.compile(
    r"(NCCL|CUDA|CUBLAS|CUDNN|TORCH|PYTORCH|NVTE|NVIDIA|NVSHMEM|OMP|MKL|TRITON|UB|GLOO|UCX|FI|OMPI|PMIX|SLURM|TOKENIZERS)_\w+"
    r"|\w+_(HOME|DIR|PATH|CACHE|OFFLINE|MODE|LEVEL|DEBUG|PROJECT|ENTITY)|PATH|PYTHON\w+|LD_\w+|NEMOTRON_\w+"
)
"""Variables that are never secret. Any other variable in `env_vars` might be."""
_SHORTEST = 8
"""Shorter values are not searched for in other texts, because `1` and `true` are everywhere."""
_remembered: set[str] = set()
_HARMLESS_BEFORE = {"pad", "eos", "bos", "unk", "mask", "stop", "text", "prompt", "label", "messages"}


def is_secret(key: str) -> bool:
    """Tell whether the last part of a dotted key names a secret.

    `hf_token`, `WANDB_API_KEY` and `db.password` do, and so does every key of `env_vars` except variables known to be
    public. `tokenizer`, `max_tokens` and `eos_token` do not.
    """
    section, _, name = key.rpartition(".")
    if section.rpartition(".")[2] == "env_vars" and not _PUBLIC_VARIABLE.fullmatch(name):
        return True
    words = [word for word in _WORDS.split(key.rsplit(".", 1)[-1].lower()) if word]
    if not words:
        return False
    if words[-1] in _SECRET_LAST:
        return len(words) == 1 or words[-2] not in _HARMLESS_BEFORE
    return any(word in _SECRET for word in words)


def holds_secret(value: str) -> bool:
    """Tell whether a text contains a secret.

    That is a known secret, a URL with credentials, or a well-known kind of token.
    """
    return mask_text(value) != value


def holds_credentials(url: str) -> bool:
    """Tell whether a URL has a user with a password, or a token, before its host."""
    return _CREDENTIALS.search(url) is not None


def mask_text(value: str) -> str:
    """Replace what `holds_secret` finds in a text.

    `s3://KEY:SECRET@bucket` becomes `s3://***@bucket`.
    """
    return _mask(value, _find_known())


def _mask(value: str, known: Iterable[str]) -> str:
    for secret in known:
        if secret in value:
            value = value.replace(secret, MASK)
    return _TOKENS.sub(MASK, _CREDENTIALS.sub(lambda found: f"{found[1] or found[2]}{MASK}@", value))


def remember_secrets(tree: Any, key: str = "") -> None:
    """Remember the secrets in nested values, to find them in other texts.

    These are the values under the key of a secret, and passwords in URLs.
    """
    if isinstance(tree, dict):
        for name, child in tree.items():
            remember_secrets(child, f"{key}.{name}")
    elif isinstance(tree, list):
        for child in tree:
            remember_secrets(child, key)
    elif isinstance(tree, str):
        found = [tree] if is_secret(key) else [match[1] for match in _PASSWORDS.finditer(tree)]
        _remembered.update(secret for secret in found if _is_findable(secret))


class MaskedStream:
    """A text stream that masks secrets in what is written to it.

    Everything else is passed on to the original stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text with its secrets masked."""
        self._stream.write(mask_text(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts with their secrets masked."""
        for line in lines:
            self.write(line)


def _find_known() -> list[str]:
    """List the secrets whose values are known."""
    # A list: a thread of another library may change the environment meanwhile.
    values = [os.environ.get(name, "") for name in list(os.environ) if _names_secret(name)]
    return [*_remembered, *filter(_is_findable, values)]


def _is_findable(secret: str) -> bool:
    return len(secret) >= _SHORTEST and not secret.startswith(("/", "~/", "./", "${"))


@cache
def _names_secret(variable: str) -> bool:
    return is_secret(variable)


def mask_values(tree: Any) -> Any:
    """Copy plain nested values with their secrets masked.

    Secrets are found by value or form, whatever their keys.
    """
    return _mask_values(tree, _find_known())


def _mask_values(tree: Any, known: list[str]) -> Any:
    if isinstance(tree, dict):
        return {name: _mask_values(child, known) for name, child in tree.items()}
    if isinstance(tree, list | tuple):
        return [_mask_values(child, known) for child in tree]
    return _mask(tree, known) if isinstance(tree, str) else tree


def mask_tree(tree: Any, key: str = "") -> Any:
    """Copy plain nested values with every secret replaced by `***`.

    Every text under the key of a secret is replaced, and credentials in any other text.
    """
    if isinstance(tree, dict):
        return {name: mask_tree(child, f"{key}.{name}") for name, child in tree.items()}
    if isinstance(tree, list):
        return [mask_tree(child, key) for child in tree]
    if isinstance(tree, str):
        return MASK if tree and is_secret(key) else mask_text(tree)
    return tree
