"""Read the reasoning mode that a row sets outside its messages."""

from collections.abc import Mapping
from typing import Any

import orjson

from nemotron.data_prep.chat.template import RenderOptions
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.reasoning_modes.mode import Mode

KWARGS = "chat_template_kwargs"


def read_own_mode(row: object) -> tuple[Mode, RenderOptions] | None:
    """Return the mode that a row sets outside its messages, or None.

    Newer datasets have `chat_template_kwargs` ({"enable_thinking": false}, {"low_effort": true}, {"reasoning_budget":
    512}, {"truncate_history_thinking": false}), older ones have `reasoning`: "on" or "off".

    Raises:
        RowError: bad_reasoning_mode; the detail names an invalid value, or two values that contradict each other.
    """
    if not isinstance(row, dict) or not ("reasoning" in row or KWARGS in row):
        return None
    # Next to a prompt and its completion, `reasoning` may also be the thought.
    is_thought = ("prompt" in row or "instruction" in row) and row.get("reasoning") not in ("on", "off")
    switch, kwargs = None if is_thought else _read_switch(row.get("reasoning")), _read_kwargs(row.get(KWARGS))
    thinking, low, budget = (kwargs.get(name) for name in ("enable_thinking", "low_effort", "reasoning_budget"))
    if switch is not None and thinking is not None and switch != thinking:
        raise _refuse(f"reasoning is {row['reasoning']!r}, enable_thinking {thinking}")
    if thinking is None:
        thinking = switch
    if thinking is False and (low or budget is not None):
        raise _refuse(f"thinking is off, but {'low_effort' if low else 'reasoning_budget'} is set")
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
    """List the keys of `chat_template_kwargs` that do not control reasoning.

    They are ignored and counted.
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
"""A `reasoning` with more characters is text, not a mode."""


def _read_switch(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("on", "off", ""):
            return {"on": True, "off": False}.get(word)
        if len(word) > LONGEST_SWITCH or " " in word:
            return None
    raise _refuse(f"reasoning is {_show(value)}, not on or off")


def _read_kwargs(value: object) -> Mapping[str, Any]:
    if isinstance(value, str) and value.strip():  # tables store objects as text
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise _refuse(f"{KWARGS} is broken JSON: {error}") from None
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise _refuse(f"{KWARGS} is {_show(value)}, not an object")
    for key, kind in _KINDS.items():
        given = value.get(key)
        if given is None:
            continue
        if type(given) is not kind or (kind is int and given < 0):
            expected = "true or false" if kind is bool else "a whole number of tokens"
            raise _refuse(f"{KWARGS}.{key} is {_show(given)}, not {expected}")
    return value


def _refuse(detail: str) -> RowError:
    return RowError(DropReason.BAD_REASONING_MODE, detail)


def _show(value: object) -> str:
    return repr(value)[:40]
