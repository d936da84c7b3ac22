"""Where the assistant's text lies in what any chat template renders: the spans that may be supervised.

A template that marks them with `{% generation %}` blocks is believed. For any other, the text of assistant message i
is what `render(messages[:i + 1])` adds to `render(messages[:i])` with the generation prompt, which holds only if both
are prefixes of the whole; when they are not, the row is refused rather than masked wrongly.
"""

from nemotron.data_prep.chat.conversation import Message, Tool
from nemotron.data_prep.chat.jinja_sandbox import BLOCK_BEGIN, BLOCK_END
from nemotron.data_prep.chat.template import RenderOptions, Template
from nemotron.data_prep.drop_reasons import DropReason, RowError

Span = tuple[int, int]


def assistant_spans(
    template: Template, messages: list[Message], tools: list[Tool] | None, start: int, options: RenderOptions
) -> tuple[str, list[tuple[int, Span]]]:
    """The rendered text, and (message index, (begin, end) in the text) of each assistant message from `start` on.

    Raises RowError: template_error, or template_mismatch when the spans cannot be told.
    """
    if template.has_generation_blocks:
        text, spans = _marked_spans(template, messages, tools, options)
        return text, [(index, span) for index, span in spans if index >= start]
    text = template.render(messages, tools, **options)
    assistants = [index for index in range(start, len(messages)) if messages[index]["role"] == "assistant"]
    return text, [(index, _prefix_span(template, text, messages, index, tools, options)) for index in assistants]


def _marked_spans(
    template: Template, messages: list[Message], tools: list[Tool] | None, options: RenderOptions
) -> tuple[str, list[tuple[int, Span]]]:
    """Spans of generation blocks: one for every assistant message, in order."""
    parts = template.render_marked(messages, tools, add_generation_prompt=False, **options).split(BLOCK_BEGIN)
    text, spans = parts[0], []
    for part in parts[1:]:
        inside, end, after = part.partition(BLOCK_END)
        if not end:
            raise RowError(DropReason.TEMPLATE_MISMATCH, f"{template.name}: nested {{% generation %}} blocks")
        if inside:
            spans.append((len(text), len(text) + len(inside)))
        text += inside + after
    assistants = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if len(spans) != len(assistants):
        problem = f"{len(spans)} {{% generation %}} blocks with text for {len(assistants)} assistant messages"
        raise RowError(DropReason.TEMPLATE_MISMATCH, f"{template.name}: {problem}")
    return text, list(zip(assistants, spans, strict=True))


def _prefix_span(
    template: Template, text: str, messages: list[Message], index: int, tools: list[Tool] | None, options: RenderOptions
) -> Span:
    through = template.render(messages[: index + 1], tools, **options)
    if text.startswith(through):
        thinking = options.get("enable_thinking", True)
        for enable_thinking in (thinking, not thinking):  # the turn itself says which prompt it was written after
            variables: RenderOptions = {**options, "enable_thinking": enable_thinking}
            before = template.render(messages[:index], tools, add_generation_prompt=True, **variables)
            if through.startswith(before):
                return len(before), len(through)
    problem = f"message {index} (assistant) is rendered differently when messages follow or precede it"
    raise RowError(DropReason.TEMPLATE_MISMATCH, f"{template.name}: {problem}")
