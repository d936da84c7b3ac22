"""Render the messages of plain rows, as chunks and as the content hash shows them."""

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.nemotron3 import ASSISTANT, END
from nemotron.data_prep.chat.reasoning import END_THINK, NO_THINKING, THINK

_SYSTEM, _USER = "<|im_start|>system\n", "<|im_start|>user\n"
_NO_SYSTEM = _SYSTEM + END
_ANSWER_NEXT, _THOUGHT_NEXT = END + ASSISTANT + NO_THINKING, f"{END}{ASSISTANT}{THINK}\n"


def render(contents: list[str], reasoning: str | None) -> tuple[list[str], list[Message]]:
    """Render a plain row.

    Args:
        contents: The text of each message; the first is a system's if their number is odd.
        reasoning: The reasoning of the only answer, if it has some.

    Returns:
        Its chunks: the system's, then the user's and the assistant's in turn. And its messages as they are hashed.
    """
    first = len(contents) % 2
    system = contents[0] if first else ""
    chunks = [f"{_SYSTEM}{system}{END}" if system else _NO_SYSTEM]
    shown = [{"role": "system", "content": system}] if system else []
    prompt = _ANSWER_NEXT if reasoning is None else _THOUGHT_NEXT
    for asked, content in zip(contents[first::2], contents[first + 1 :: 2], strict=True):
        if reasoning is None:
            said = content.rstrip()
            full = NO_THINKING + said
        else:
            said = f"{reasoning}\n{END_THINK}\n{content}".rstrip()
            full = f"{THINK}\n{said}"
        chunks += (f"{_USER}{asked}{prompt}", said + END)
        shown += ({"role": "user", "content": asked}, {"role": "assistant", "content": full})
    return chunks, shown
