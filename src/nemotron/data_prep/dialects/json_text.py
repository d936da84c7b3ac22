"""Decode JSON inside JSON strings, and describe values in words."""

import json
import math
from collections.abc import Callable, Iterable
from typing import NoReturn

from nemotron.data_prep.drop_reasons import Unreadable
from nemotron.secrets import mask_text

LOOKED_AT = 4000
"""Characters of a long value that are looked at for secrets."""


def decode_json(text: str, refuse: Callable[[str], NoReturn]) -> object:
    """Decode JSON inside a JSON string.

    Unlike the row itself, it has not been decoded strictly yet, so a lone surrogate is refused here.
    """
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        refuse("hold half of a surrogate pair, which is no text")
    except (ValueError, RecursionError) as error:
        refuse(f"are broken JSON: {error}")
    return value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    return float(number) if abs(float(number)) < float("inf") else _refuse_constant(number)


# The standard decoder, because unlike orjson it keeps all digits of integers beyond 64 bits.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def is_filled(value: object) -> bool:
    """Tell whether a value is not empty.

    Tables use null, blank text and empty containers for absent values.
    """
    if isinstance(value, str):
        return bool(value) and not value.isspace()
    return value is not None and value != [] and value != {}


def describe_kind(value: object) -> str:
    """Describe the type of a JSON value in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number"}
    if value == [] or value == "":
        return "empty"
    if isinstance(value, Unreadable):
        return f"unreadable ({value.reason})"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return "null" if value is None else names.get(type(value), type(value).__name__)


def shorten(value: object) -> str:
    """Return a value as JSON, cut to 40 characters."""
    try:
        shown = json.dumps(value, ensure_ascii=False, default=describe_kind)
    except (ValueError, RecursionError):
        shown = describe_kind(value)
    if len(shown) > 40:  # a piece of a secret is not found as one
        shown = mask_text(shown[:LOOKED_AT])
    return shown if len(shown) <= 40 else shown[:37] + "..."


def quote(names: Iterable[object]) -> str:
    """List the first few names, quoted."""
    shown = list(names)
    return ", ".join(shorten(name) for name in shown[:8]) + (", ..." if len(shown) > 8 else "")
