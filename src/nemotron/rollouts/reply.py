"""Read a reply of the endpoint.

It is an answer with its thought, or a named reason why there is no answer.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nemotron.data_prep.chat.reasoning import END_THINK, THINK


class Outcome(StrEnum):
    """The outcome of one completion."""

    COMPLETED = "completed"
    REFUSED = "refused"
    """The model or the endpoint refused: a `refusal`, or finish_reason content_filter."""
    EMPTY = "empty"
    """Neither text nor a tool call."""
    UNFINISHED = "unfinished"
    """Cut off at sampling.max_tokens."""
    REJECTED = "rejected"
    """The endpoint rejects this request (HTTP 400, 413 or 422), for example a prompt longer than its context."""


@dataclass(frozen=True)
class Reply:
    """One completion, as saved in the journal."""

    outcome: Outcome
    message: dict[str, Any] = field(default_factory=dict)
    """The assistant's message: content, reasoning_content, tool_calls, each only if it is not empty."""
    tokens: int | None = None
    """Tokens of thought and answer, as the server counts them; None if it does not."""
    finish_reason: str | None = None
    model: str | None = None
    """The model's name in the reply."""
    detail: str = ""
    thought_tokens: int | None = None
    """Tokens of the thought alone, if the server counts them."""


class NotACompletion(ValueError):
    """The body of a reply does not follow the API."""


def read_reply(body: Any) -> Reply:
    """Read the body of a `/chat/completions` reply.

    A server without a reasoning parser leaves the thought in the content, usually without the opening tag, which is
    part of the prompt. So everything before the first closing tag is the thought.

    Raises:
        NotACompletion: The reply has no choice with a message.
    """
    try:
        choice = body["choices"][0]
        raw, finish = choice["message"], choice.get("finish_reason")
        content, refusal = raw.get("content"), raw.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NotACompletion("the reply has no choices[0].message") from None
    if not isinstance(content, str | None):
        raise NotACompletion("choices[0].message.content is not text")
    message = _split_message(raw, content or "")
    counted = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    tokens = counted.get("completion_tokens")
    details = counted.get("completion_tokens_details")
    thought = details.get("reasoning_tokens") if isinstance(details, dict) else None
    model = body.get("model")
    outcome = _find_outcome(message, finish, refusal)
    return Reply(
        outcome,
        message,
        tokens if isinstance(tokens, int) else None,
        finish if isinstance(finish, str) else None,
        model if isinstance(model, str) else None,
        refusal if isinstance(refusal, str) else "",
        thought if isinstance(thought, int) else None,
    )


def _split_message(raw: dict[str, Any], content: str) -> dict[str, Any]:
    """Split a message into thought, answer and calls.

    Newlines next to the think tags belong to the template.
    """
    thought = next((raw[name] for name in ("reasoning_content", "reasoning") if isinstance(raw.get(name), str)), "")
    if not thought and END_THINK in content:
        thought, _, content = content.partition(END_THINK)
        thought = thought.lstrip("\n").removeprefix(THINK)
    message: dict[str, Any] = {"role": "assistant", "content": content.strip("\n")}
    if thought.strip():
        message["reasoning_content"] = thought.strip("\n")
    if isinstance(raw.get("tool_calls"), list) and raw["tool_calls"]:
        message["tool_calls"] = raw["tool_calls"]
    return message


def _find_outcome(message: dict[str, Any], finish: object, refusal: object) -> Outcome:
    if refusal or finish == "content_filter":
        return Outcome.REFUSED
    if finish == "length":
        return Outcome.UNFINISHED
    if not message["content"].strip() and not message.get("tool_calls"):
        return Outcome.EMPTY
    return Outcome.COMPLETED
