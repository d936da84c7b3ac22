"""Whether a chat template removes reasoning once it is history: found out by rendering a conversation of our own."""

from functools import lru_cache

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.drop_reasons import RowError

_FIRST, _NEWEST = "an early thought", "a late thought"


@lru_cache(maxsize=8)
def drops_history_thinking(template: Template) -> bool:
    """Whether the newest answer is shown with its reasoning and an earlier one without.

    Reasoning that the template never shows, or always, leaves a conversation one sequence.
    """
    for answer in (_in_fields, _inline):
        messages = [
            {"role": "user", "content": "One?"}, answer(_FIRST), {"role": "user", "content": "Two?"}, answer(_NEWEST)
        ]  # fmt: skip
        try:
            shown = template.render(messages, None)
        except RowError:
            continue
        if _NEWEST in shown and _FIRST not in shown:
            return True
    return False


def _in_fields(thought: str) -> Message:
    fields = dict.fromkeys(("reasoning_content", "reasoning", "thinking"), thought)
    return {"role": "assistant", "content": "So.", **fields}


def _inline(thought: str) -> Message:
    return {"role": "assistant", "content": f"<think>\n{thought}\n</think>\n\nSo."}
