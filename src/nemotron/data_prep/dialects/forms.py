"""Find the messages of a row by the names of its fields, in one of these forms.

openai             {"messages": [{"role": "user", "content": "..."}, ...], "tools": [...]}
sharegpt           {"conversations": [{"from": "human", "value": "..."}, ...], "system": "...", "tools": "[...]"}
prompt_completion  {"prompt": text or messages, "completion": text or messages}
                   {"instruction": "...", "input": "...", "output": "...", "history": [["...", "..."]]}

The messages themselves are not checked here.
"""

from typing import Any, NamedTuple

from nemotron.data_prep.config import WITH_MESSAGES, RowFormat
from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.json_text import decode_json, describe_kind, is_filled, quote, shorten
from nemotron.data_prep.drop_reasons import DropReason, RowError

Raw = dict[str, Any]


class Fields(NamedTuple):
    """Where the conversations are in the rows of a dataset.

    The order is that of the arguments of parse_row.
    """

    messages_field: str = "messages"
    tools_field: str = "tools"
    format: RowFormat = "auto"


class Form(NamedTuple):
    """The messages of a row as given, and the names of the fields they came from."""

    messages: list[Any]
    used: frozenset[str]


def find_messages(row: Raw, format: RowFormat, messages_field: str) -> Form:
    """Find the messages of a row.

    Raises:
        RowError: no_messages; the detail says what the row has instead.
    """
    if format in WITH_MESSAGES:
        others = () if format == "openai" else names.CONVERSATIONS
        for name in (messages_field, *others):
            if name in row and is_filled(row[name]):
                return Form(_read_list(row[name], name), frozenset((name,)))
    if format in ("auto", "prompt_completion") and (form := _from_pair(row)):
        return form
    if messages_field in row:
        raise RowError(DropReason.NO_MESSAGES, f'"{messages_field}" is {describe_kind(row[messages_field])}')
    detail = f'"{messages_field}" is missing; the row has {quote(row) or "no fields"}'
    looks = next((name for name, value in row.items() if _looks_like_messages(value)), None)
    hint = f"; set messages_field={looks} to read that" if looks else ""
    raise RowError(DropReason.NO_MESSAGES, detail + hint)


def _read_list(value: object, name: str) -> list[Any]:
    """Return a list of messages, which tables may store as JSON text."""

    def refuse(problem: str) -> Any:
        raise RowError(DropReason.NO_MESSAGES, f'"{name}" is text, and its messages {problem}')

    if isinstance(value, str) and value.lstrip().startswith("["):
        value = decode_json(value, refuse)
    if not isinstance(value, list) or not value:
        raise RowError(DropReason.NO_MESSAGES, f'"{name}" is {describe_kind(value)}')
    return value


def _looks_like_messages(value: object) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and any(name in first for name in names.SPEAKERS)


def _from_pair(row: Raw) -> Form | None:
    """Return the messages of a prompt and its completion, which trains."""
    pair = _find_pair(row)
    if pair is None:
        return None
    prompt_name, answer_name = pair
    used = {*pair, "history"}
    prompt = row[prompt_name]
    if prompt_name == "instruction":
        added = [name for name in names.ADDED_INPUTS if row.get(name) not in (None, "")]
        used.update(added[:1])
        prompt = _join_instruction(prompt, [row[name] for name in added[:1]])
    answer = row[answer_name]
    if not isinstance(answer, list):
        reasoning = {name: row[name] for name in names.REASONING if _is_thought(row.get(name))}
        used.update(reasoning)
        answer = [{"role": "assistant", "content": answer, **reasoning}]
    return Form([*_read_history(row.get("history")), *_read_prompt(prompt), *answer], frozenset(used))


def _find_pair(row: Raw) -> tuple[str, str] | None:
    exact = [pair for pair in names.PAIRS if all(row.get(name) is not None for name in pair)]
    if len(exact) == 1:
        return exact[0]
    given = [name for name in row if row[name] is not None]
    prompts = [name for name in names.PROMPTS if name in given]
    if "instruction" in prompts and "input" in prompts:
        prompts.remove("input")
    answers = [name for name in names.ANSWERS if name in given]
    if not prompts or not answers:
        return None
    if len(prompts) > 1 or len(answers) > 1:
        raise RowError(DropReason.NO_MESSAGES, f"which is the pair to learn? The row has {quote([*prompts, *answers])}")
    return prompts[0], answers[0]


def _is_thought(value: object) -> bool:
    """Tell whether a field next to a pair holds a thought, and not an on/off switch."""
    is_switch = isinstance(value, bool) or (isinstance(value, str) and value.lower() in names.SWITCHES)
    return is_filled(value) and not is_switch


def _join_instruction(instruction: object, added: list[object]) -> object:
    """Join an instruction and its input in one message, with a blank line between."""
    if not added:
        return instruction
    if not isinstance(instruction, str) or not isinstance(added[0], str):
        return {"input": added[0]}  # not text; refused later
    return f"{instruction}\n\n{added[0]}" if instruction else added[0]


def _read_history(history: object) -> list[object]:
    """Return earlier turns, given as `[question, answer]` pairs or messages.

    Their answers train, as in LLaMA-Factory.
    """
    if not is_filled(history):
        return []
    if not isinstance(history, list):
        raise RowError(DropReason.BAD_MESSAGE, f'"history" is {describe_kind(history)}')
    messages: list[object] = []
    for turn in history:
        if isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn):
            messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
        elif isinstance(turn, dict):
            messages.append(turn)
        else:
            raise RowError(DropReason.BAD_MESSAGE, f'"history" has {shorten(turn)}, not a question and its answer')
    return messages


def _read_prompt(prompt: object) -> list[object]:
    """Return a prompt as messages; plain text is a user's message.

    Its assistant turns are context and do not train.
    """
    if not isinstance(prompt, list):
        return [{"role": "user", "content": prompt}]
    return [_as_context(message) if _is_assistant(message) else message for message in prompt]


def _is_assistant(message: object) -> bool:
    speaker = next((message.get(name) for name in names.SPEAKERS), None) if isinstance(message, dict) else None
    return isinstance(speaker, str) and names.ROLES.get(speaker.lower()) == "assistant"


def _as_context(message: Raw) -> Raw:
    return {name: value for name, value in message.items() if name not in names.FLAGS} | {"train": False}
