"""The reasoning mode that a row says for itself, outside its messages."""

from collections.abc import Mapping
from typing import Any

import orjson

from nemotron.data_prep.chat.template import RenderOptions
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.reasoning_modes.mode import Mode

KWARGS = "chat_template_kwargs"


def own_mode(row: object) -> tuple[Mode, RenderOptions] | None:
    """Return the mode that a row says outside its messages; None when it says none.

    Newer sets have `chat_template_kwargs` ({"enable_thinking": false}, {"low_effort": true}, {"reasoning_budget": 512},
    {"truncate_history_thinking": false}), older ones `reasoning`: "on" or "off".

    Raises:
        RowError: bad_reasoning_mode, naming a value that is none, or two that contradict each other.
    """
    if not isinstance(row, dict) or not ("reasoning" in row or KWARGS in row):
        return None
    # Next to a prompt and its completion, `reasoning` may be the thought itself.
    is_thought = ("prompt" in row or "instruction" in row) and row.get("reasoning") not in ("on", "off")
    switch, kwargs = None if is_thought else _switch(row.get("reasoning")), _kwargs(row.get(KWARGS))
    thinking, low, budget = (kwargs.get(name) for name in ("enable_thinking", "low_effort", "reasoning_budget"))
    if switch is not None and thinking is not None and switch != thinking:
        raise _bad(f"reasoning is {row['reasoning']!r}, enable_thinking {thinking}")
    if thinking is None:
        thinking = switch
    if thinking is False and (low or budget is not None):
        raise _bad(f"thinking is off, but {'low_effort' if low else 'reasoning_budget'} is set")
    options: RenderOptions = {}
    if kwargs.get("truncate_history_thinking") is not None:
        options["truncate_history_thinking"] = kwargs["truncate_history_thinking"]
    if thinking is False:
        return Mode.ROW_OFF, options
    if budget is not None:
        options["reasoning_budget"] = budget
    if low:
        options["low_effort"] = True
    if thinking is None and low is None and not options:
        return None
    return (Mode.ROW_LOW_EFFORT if low else Mode.ROW_BUDGET if budget is not None else Mode.ROW_ON), options


def list_unknown_kwargs(row: object) -> list[str]:
    """List the keys of `chat_template_kwargs` that steer no reasoning.

    They are ignored, and counted.
    """
    kwargs = row.get(KWARGS) if isinstance(row, dict) else None
    return (
        [key for key, value in kwargs.items() if key not in _KINDS and value is not None]
        if isinstance(kwargs, dict)
        else []
    )


_KINDS: dict[str, type] = {
    "enable_thinking": bool, "low_effort": bool, "reasoning_budget": int, "truncate_history_thinking": bool,
}  # fmt: skip
LONGEST_SWITCH = 16
"""Characters: a longer `reasoning` is text about something, not a mode."""


def _switch(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("on", "off", ""):
            return {"on": True, "off": False}.get(word)
        if len(word) > LONGEST_SWITCH or " " in word:
            return None
    raise _bad(f"reasoning is {_shown(value)}, not on or off")


def _kwargs(value: object) -> Mapping[str, Any]:
    if isinstance(value, str) and value.strip():  # how tables hold objects
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise _bad(f"{KWARGS} is broken JSON: {error}") from None
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise _bad(f"{KWARGS} is {_shown(value)}, not an object")
    for key, kind in _KINDS.items():
        given = value.get(key)
        if given is None:
            continue
        if type(given) is not kind or (kind is int and given < 0):
            expected = "true or false" if kind is bool else "a whole number of tokens"
            raise _bad(f"{KWARGS}.{key} is {_shown(given)}, not {expected}")
    return value


def _bad(detail: str) -> RowError:
    return RowError(DropReason.BAD_REASONING_MODE, detail)


def _shown(value: object) -> str:
    return repr(value)[:40]
