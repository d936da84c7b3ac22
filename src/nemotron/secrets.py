"""Keep secrets out of everything that is printed or written to disk.

A value is a secret because of its key, its form or its origin: the value of a variable such as HF_TOKEN, or of a key
such as `api_key`, is a secret wherever it appears.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

MASK = "***"
_WORDS = re.compile(r"[^a-z0-9]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECRET = {
    *("secret", "secrets", "password", "passwd", "passphrase", "passcode", "credential", "credentials", "apikey"),
    *("authorization", "bearer", "cookie"),
}
_SECRET_LAST = {"token", "key"}
# A user with a password in any URL, or a user alone in a web URL, which may be a token; and tokens by known prefixes.
# Python shortens `://` to `:/` in paths. Lengths are limited, because time would grow with the square of a text's.
_SCHEME = r"\b[a-z][a-z0-9+.-]{1,20}:(?:\\?/){1,2}"
_PASSWORD = r"(?!\d{1,5}/)[^\s@\"'<>]{1,200}(?:@[^\s/@\"'<>]{0,200}(?=@))*"
_CREDENTIALS = re.compile(
    rf"{_SCHEME}([^\s/@:\"'<>]{{0,200}}:({_PASSWORD}))@|\bhttps?:/{{1,2}}([^\s/@:]{{1,200}})@", re.IGNORECASE
)
_TOKENS = re.compile(
    r"\b(hf_(?:[A-Za-z0-9]{16,}|(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,})|sk-[\w-]{16,}|nvapi-[\w-]{16,}|gh[pousr]_\w{16,}"
    r"|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|AIza[\w-]{35}|ya29\.[\w-]{16,}|npm_\w{36}|dckr_pat_[\w-]{16,}|wandb_v\d+_\w{16,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})\b"  # JSON Web Tokens
    r"|(?:hf_|gh[pousr]_)(?:(?!hf_|gh[pousr]_)[A-Za-z0-9]){34,}"  # also glued to a word
)
# By name: parameters of signed URLs and of others, and variables. Headers, and private keys.
_PARAMETER = re.compile(r"[?&;]([a-z][\w.-]{0,60})=([^\s&;#\"'<>]{1,4000})", re.IGNORECASE)
_VARIABLE = re.compile(r"(?<![A-Za-z0-9_])([A-Z][A-Z0-9_]{1,60})=[\"']?(?![$`])([^\s,;\"']{8,4000})")
_SIGNATURES = {"sig", "signature", "x-amz-signature", "x-goog-signature", "x-amz-credential"}
_HEADER = re.compile(
    r"\bauthorization\b[\"']?\s*[:=]\s*[\"']?(?:[a-z]+\s+)?([\w.~+/=-]{16,4000})"
    r"|\b(?:bearer|basic)\s+(?=\S*(?:\d|(?-i:[a-z][A-Z])))([\w.~+/=-]{16,4000})",  # no long word of prose
    re.IGNORECASE,
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----([^-]{1,20000})-----END")
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
    last = _CAMEL_CASE.sub("_", key.rsplit(".", 1)[-1])
    words = [word for word in _WORDS.split(last.lower()) if word]
    if not words:
        return False
    if words[-1] in _SECRET_LAST:
        return len(words) == 1 or words[-2] not in _HARMLESS_BEFORE
    return any(word in _SECRET for word in words)


def holds_secret(value: str) -> bool:
    """Tell whether a text contains a secret.

    That is a known secret, a URL with credentials, or a well-known kind of token.
    """
    return bool(find_secrets(value))


def holds_credentials(url: str) -> bool:
    """Tell whether a URL has a user with a password, or a token, before its host."""
    return _CREDENTIALS.search(url) is not None


def find_secrets(text: str) -> list[tuple[int, int]]:
    """Return where the secrets of a text begin and end, in order and apart."""
    return _find(text, _find_known())


def mask_text(value: str) -> str:
    """Replace what `find_secrets` finds in a text.

    `s3://KEY:SECRET@bucket` becomes `s3://***@bucket`.
    """
    if len(value) < _SHORTEST and "=" not in value and "@" not in value:
        return value  # most cells of a table: every secret is longer, or after one of these
    return _mask(value, _find_known())


def mask_pieces(pieces: Sequence[str]) -> list[str | None]:
    """Mask the secrets of a text that comes in pieces, such as its tokens.

    Args:
        pieces: Their concatenation is the text.

    Returns:
        Each piece as it is shown. The first piece of a secret has the mask; None are its others.
    """
    spans = find_secrets("".join(pieces))
    shown: list[str | None] = []
    end, span = 0, 0
    for piece in pieces:
        start, end = end, end + len(piece)
        text, at, is_masked = "", start, False
        while span < len(spans) and spans[span][0] < end:
            first, after = spans[span]
            text += piece[at - start : max(first, start) - start] + (MASK if first >= start else "")
            at, is_masked = min(after, end), True
            if after > end:  # the next pieces are its others
                break
            span += 1
        text += piece[at - start :]
        shown.append(None if is_masked and not text else text)
    return shown


def _mask(value: str, known: Iterable[str]) -> str:
    if not (spans := _find(value, known)):
        return value
    ends = [0, *(end for _, end in spans)]
    kept = [value[end:start] for end, (start, _) in zip(ends, spans, strict=False)]
    return MASK.join([*kept, value[ends[-1] :]])


def _find(text: str, known: Iterable[str]) -> list[tuple[int, int]]:
    urls = _CREDENTIALS.finditer(text) if "@" in text else ()
    spans = [found.span(1) if found[1] else found.span(3) for found in urls]
    spans += [found.span() for found in _TOKENS.finditer(text)]
    spans += [found.span(2) for found in _PARAMETER.finditer(text) if _names_parameter(found[1])]
    spans += [found.span(2) for found in _VARIABLE.finditer(text) if found[1] != "KEY" and is_secret(found[1])]
    spans += [found.span(found.lastindex or 0) for found in _HEADER.finditer(text)]
    spans += [found.span(1) for found in _PRIVATE_KEY.finditer(text)]
    for secret in known:
        at = text.find(secret)
        while at >= 0:
            spans.append((at, at + len(secret)))
            at = text.find(secret, at + len(secret))
    apart: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if apart and start < apart[-1][1]:
            apart[-1] = apart[-1][0], max(end, apart[-1][1])
        else:
            apart.append((start, end))
    return apart


def _names_parameter(name: str) -> bool:
    return name.lower() in _SIGNATURES or is_secret(name)


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
        found = [tree] if is_secret(key) else [match[2] for match in _CREDENTIALS.finditer(tree) if match[2]]
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


def mask_streams() -> None:
    """Mask secrets in whatever this process prints from now on.

    Libraries print and log the addresses that they ask, and a traceback has values, too.
    """
    sys.stdout, sys.stderr = MaskedStream(sys.stdout), MaskedStream(sys.stderr)


def _find_known() -> list[str]:
    """List the secrets whose values are known, in the forms that they are printed in."""
    # A list: a thread of another library may change the environment meanwhile. Bytes: most need not be decoded.
    values = [os.environ.get(os.fsdecode(name), "") for name in list(os.environb) if _names_secret(name)]
    known = {*_remembered, *filter(_is_findable, values)}
    return [form for secret in known for form in _forms(secret)]


def _is_findable(secret: str) -> bool:
    return len(secret) >= _SHORTEST and not secret.startswith(("/", "~/", "./", "${"))


@lru_cache(maxsize=1000)
def _forms(secret: str) -> frozenset[str]:
    """Return a secret as it appears in a text, line by line, in JSON and in a URL."""
    from urllib.parse import quote

    lines = [line for line in secret.splitlines() if len(line) >= _SHORTEST]
    in_json = (json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (True, False))
    return frozenset({secret, *lines, *in_json, quote(secret, safe=""), quote(secret)})


@cache
def _names_secret(variable: bytes) -> bool:
    return is_secret(os.fsdecode(variable))


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
