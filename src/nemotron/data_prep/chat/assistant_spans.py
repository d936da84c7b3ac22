"""Find the assistant's spans in what any chat template renders.

These spans may be supervised. If a template marks them with `{% generation %}` blocks, the marks are used, provided
that the first answer looks the same if nothing follows it. Otherwise, the text of assistant message i is what
`render(messages[:i + 1])` adds to `render(messages[:i])` with the generation prompt. That only holds if both are
prefixes of the whole text; if they are not, the row is refused rather than masked wrongly.
"""

from itertools import pairwise
from typing import NamedTuple

from nemotron.data_prep.chat.conversation import Message, Tool
from nemotron.data_prep.chat.jinja_sandbox import BLOCK_BEGIN, BLOCK_END
from nemotron.data_prep.chat.template import RenderOptions, Template
from nemotron.data_prep.chat.template_probes import find_frame
from nemotron.data_prep.drop_reasons import DropReason, RowError


class Span(NamedTuple):
    """A range of characters that an assistant's message wrote.

    Several spans of one message are in order.
    """

    message: int
    begin: int
    end: int


def find_assistant_spans(
    template: Template, messages: list[Message], tools: list[Tool] | None, start: int, options: RenderOptions
) -> tuple[str, list[Span]]:
    """Find the spans of the assistant messages from `start` on.

    Returns:
        The rendered text, and the spans in it, in order.

    Raises:
        RowError: template_error, or template_mismatch if the spans cannot be found.
    """
    if template.has_generation_blocks:
        text, spans = _find_marked_spans(template, messages, tools, start, options)
        return text, [span for span in spans if span.message >= start]
    text = template.render(messages, tools, **options)
    indices = [index for index in _list_assistants(messages) if index >= start]
    return text, [_find_prefix_span(template, text, messages, index, tools, options) for index in indices]


def _list_assistants(messages: list[Message]) -> list[int]:
    return [index for index, message in enumerate(messages) if message["role"] == "assistant"]


def _find_marked_spans(
    template: Template, messages: list[Message], tools: list[Tool] | None, start: int, options: RenderOptions
) -> tuple[str, list[Span]]:
    """Find the spans of generation blocks, in order.

    Usually there is one for every assistant message.
    """
    marked = _render_marked(template, messages, tools, options)
    parts = marked.split(BLOCK_BEGIN)
    text, bounds = parts[0], []
    for part in parts[1:]:
        inside, end, after = part.partition(BLOCK_END)
        if not end:
            raise _mismatch(template, "has nested {% generation %} blocks")
        if inside:
            bounds.append((len(text), len(text) + len(inside)))
        text += inside + after
    owners = _find_owners(template, marked, len(bounds), messages, tools, start, options)
    return text, [Span(index, begin, end) for index, (begin, end) in zip(owners, bounds, strict=True)]


def _find_owners(
    template: Template,
    marked: str,
    blocks: int,
    messages: list[Message],
    tools: list[Tool] | None,
    start: int,
    options: RenderOptions,
) -> list[int]:
    """Return the message of each block with text.

    The first answer from `start` on must look the same without the others.

    Raises:
        RowError: The answer looks different, or blocks cannot be matched to messages.
    """
    assistants = _list_assistants(messages)
    first = next((position for position, index in enumerate(assistants) if index >= start), len(assistants) - 1)
    through = marked
    if first < len(assistants) - 1:
        through = _render_marked(template, messages[: assistants[first] + 1], tools, options)
        if not marked.startswith(through[: through.rfind(BLOCK_END) + 1]):
            raise _changes(template, assistants[first])
    if blocks == len(assistants) and _count_blocks(through) == first + 1:
        return assistants
    so_far = [0]
    for index in assistants:
        through = _render_marked(template, messages[: index + 1], tools, options)
        is_prefix = marked.startswith(through[: through.rfind(BLOCK_END) + 1])
        so_far.append(_count_blocks(through) if is_prefix else so_far[-1])
    counts = [after - before for before, after in pairwise(so_far)]
    if min(counts) < 0 or sum(counts) != blocks:
        found = f"{blocks} {{% generation %}} blocks with text for {len(assistants)} assistant messages"
        raise _mismatch(template, f"has {found}")
    return [index for index, count in zip(assistants, counts, strict=True) for _ in range(count)]


def _render_marked(
    template: Template, messages: list[Message], tools: list[Tool] | None, options: RenderOptions
) -> str:
    return template.render_marked(messages, tools, add_generation_prompt=False, **options)


def _count_blocks(marked: str) -> int:
    """Return how many generation blocks have text."""
    return marked.count(BLOCK_BEGIN) - marked.count(BLOCK_BEGIN + BLOCK_END)


def _find_prefix_span(
    template: Template, text: str, messages: list[Message], index: int, tools: list[Tool] | None, options: RenderOptions
) -> Span:
    through = _cut_prompt(template, template.render(messages[: index + 1], tools, **options))
    if not text.startswith(through):
        raise _changes(template, index)
    thinking = options.get("enable_thinking", True)
    # The turn shows which prompt it follows: the longest that it begins with.
    asked = (thinking, not thinking) if "enable_thinking" in template.source else (thinking,)
    prompts = []
    for enable_thinking in asked:
        variables: RenderOptions = {**options, "enable_thinking": enable_thinking}
        prompts.append(template.render(messages[:index], tools, add_generation_prompt=True, **variables))
    begins = [len(prompt) for prompt in prompts if through.startswith(prompt)]
    if not begins:
        raise _changes(template, index)
    begin = max(begins)
    header = frame.header if (frame := find_frame(template)) else ""
    return Span(index, begin + len(header) * text.startswith(header, begin), len(through))


def _cut_prompt(template: Template, text: str) -> str:
    """Return rendered text up to the end of its last turn.

    Some templates always add the next generation prompt.
    """
    stop = frame.stop if (frame := find_frame(template)) else ""
    before, found, after = text.rpartition(stop) if stop else ("", "", "")
    return before + found if found and after.strip() else text


def _changes(template: Template, index: int) -> RowError:
    return _mismatch(template, f"renders message {index} (assistant) differently when messages follow or precede it")


def _mismatch(template: Template, problem: str) -> RowError:
    return RowError(DropReason.TEMPLATE_MISMATCH, f"{template.name} {problem}")
