"""Generate a reply of a model: a thought, possibly within a budget, and an answer."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from nemotron.errors import UserError

Thinking = Literal["on", "off", "low"]
Kind = Literal["thought", "answer"]
OnText = Callable[[Kind, str], None]
THINK, END_THINK = "<think>", "</think>"
_OPTIONS: dict[str, dict[str, Any]] = {
    "on": {"enable_thinking": True}, "off": {"enable_thinking": False}, "low": {"low_effort": True},
}  # fmt: skip
"""Options of the chat template for each mode of thinking."""


class Speaker(Protocol):
    """A model and its tokenizer."""

    stops: frozenset[int]
    """The tokens that end a turn."""

    def render(self, messages: Sequence[dict[str, str]], **options: Any) -> str:
        """Return the text of the messages, up to where the reply begins."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without adding special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        ...

    def token(self, text: str) -> int | None:
        """Return the token of a text that is exactly one token, else None."""
        ...

    def generate(
        self, ids: Sequence[int], most: int, stops: Collection[int], on_token: Callable[[int], None]
    ) -> list[int]:
        """Return at most `most` further tokens; the last one may be one of `stops`."""
        ...


@dataclass(frozen=True)
class Asked:
    """Settings of a reply."""

    thinking: Thinking | None = None
    """None keeps the default of the chat template."""
    budget: int | None = None
    """Most tokens of the thought, which is then closed."""
    most: int = 1024
    """Most tokens of thought and answer together."""


@dataclass(frozen=True)
class Reply:
    """The reply of a model."""

    thought: str
    answer: str
    thought_tokens: int
    answer_tokens: int
    ended: Literal["stop", "length"]
    """Whether the model ended its turn, or the limit on tokens did."""
    was_closed: bool
    """Whether the budget closed the thought."""


def reply_to(
    speaker: Speaker, messages: Sequence[dict[str, str]], asked: Asked, on_text: OnText = lambda kind, text: None
) -> Reply:
    """Generate a reply to messages.

    The template gets the budget, as in training, and a thought that reaches it is closed with `\\n</think>`.

    Args:
        speaker: The model.
        messages: The conversation so far.
        asked: The settings of the reply.
        on_text: Called with the text as it is generated, in pieces that end at white space.

    Raises:
        UserError: The chat template does not have this mode of thinking, or opens no thought that a budget could close.
    """
    prompt = _render(speaker, messages, asked)
    ids, close = speaker.encode(prompt), speaker.token(END_THINK)
    is_open = prompt.rstrip().endswith(THINK)
    if asked.budget is not None and (not is_open or close is None):
        raise UserError(
            "--budget limits the thought, but the chat template opens none here.",
            "Remove --budget, or turn thinking on.",
        )
    thought: list[int] = []
    was_closed, left = False, asked.most
    if is_open and close is not None:
        budget = asked.budget if asked.budget is not None and asked.budget <= left else None
        flow = _Flow(speaker, lambda text: on_text("thought", text))
        # The newline that closes a thought counts for the budget, as in data prep.
        said = speaker.generate(ids, left if budget is None else budget - 1, {close, *speaker.stops}, flow.add)
        flow.end()
        ended = said[-1] if said else None
        thought, left = _without_stop(said, {close, *speaker.stops}), left - len(said)
        if ended != close and (budget is None or ended in speaker.stops):
            how = "stop" if ended in speaker.stops else "length"
            return Reply(speaker.decode(thought).strip(), "", len(thought), 0, how, was_closed=False)
        was_closed = ended != close
        ids += [*thought, *(speaker.encode("\n") if was_closed else []), close]
    flow = _Flow(speaker, lambda text: on_text("answer", text))
    said = speaker.generate(ids, left, speaker.stops, flow.add) if left > 0 else []
    flow.end()
    answer = _without_stop(said, speaker.stops)
    ended = "stop" if len(answer) < len(said) else "length"
    before, _, after = speaker.decode(answer).rpartition(END_THINK)  # for a template that opens no thought
    written = "".join((speaker.decode(thought), before)).replace(THINK, "").strip()
    return Reply(written, after.strip(), len(thought), len(answer), ended, was_closed)


def _render(speaker: Speaker, messages: Sequence[dict[str, str]], asked: Asked) -> str:
    if asked.thinking == "off" and asked.budget is not None:
        raise UserError(f"Thinking is off, and the budget is {asked.budget}.", "Remove one of them.")
    options = _OPTIONS[asked.thinking] if asked.thinking is not None else {}
    told = {} if asked.budget is None else {"reasoning_budget": asked.budget}
    prompt = speaker.render(messages, **options, **told)
    if asked.thinking in ("off", "low") and prompt == speaker.render(messages, **told):
        raise UserError(
            f"The chat template of this model has no --thinking {asked.thinking}: its prompt stays the same.",
            "Remove it, or write the instruction that the model was trained with into the prompt.",
        )
    return prompt


def _without_stop(said: Sequence[int], stops: Collection[int]) -> list[int]:
    return list(said[:-1] if said and said[-1] in stops else said)


class _Flow:
    """Converts tokens to text as they are generated.

    Text is passed on up to the last white space, because the rest may still change.
    """

    def __init__(self, speaker: Speaker, on_text: Callable[[str], None]) -> None:
        self._speaker, self._on_text = speaker, on_text
        self._ids: list[int] = []
        self._shown = 0
        """Characters of these tokens that were passed on."""

    def add(self, token: int) -> None:
        if token in self._speaker.stops or token == self._speaker.token(END_THINK):
            return
        self._ids.append(token)
        text = self._speaker.decode(self._ids)
        end = max(text.rfind(" "), text.rfind("\n")) + 1
        if end > self._shown:
            self._on_text(text[self._shown : end])
            self._shown = end
        if text.endswith("\n"):  # a finished line is not decoded again, which would take longer with every token
            self._ids, self._shown = [], 0

    def end(self) -> None:
        if rest := self._speaker.decode(self._ids)[self._shown :]:
            self._on_text(rest)
