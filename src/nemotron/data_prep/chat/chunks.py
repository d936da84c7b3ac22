"""Turn a conversation into training sequences, which are lists of chunks.

The texts of a sequence's chunks concatenate to exactly what the chat template renders. Chunks are tokenized one by one,
so the boundary between a prompt and its answer is a token boundary, as at inference. Some chunks are supervised. A
supervised chunk begins after the generation prompt, which belongs to the chunk before it, and includes what the
template writes after the end-of-turn token (a newline), which the loss mask leaves out.
"""

from collections.abc import Iterable
from typing import Unpack

from nemotron.data_prep.chat import nemotron3
from nemotron.data_prep.chat.assistant_spans import Span, find_assistant_spans
from nemotron.data_prep.chat.conversation import Conversation, Message, is_trained
from nemotron.data_prep.chat.jinja_sandbox import limit_resources
from nemotron.data_prep.chat.message_forms import list_forms
from nemotron.data_prep.chat.reasoning import (
    ANSWER_ONLY,
    END_THINK,
    Turn,
    last_user_index,
    per_user_turn,
    turns_to_train,
)
from nemotron.data_prep.chat.rendered import Chunk, Rendered, Sequence
from nemotron.data_prep.chat.shown import find_lost
from nemotron.data_prep.chat.template import RenderOptions, Template
from nemotron.data_prep.chat.template_probes import drops_history_thinking
from nemotron.data_prep.drop_reasons import DropReason, RowError


def sequences(conversation: Conversation, template: Template, **options: Unpack[RenderOptions]) -> list[list[Chunk]]:
    """Return the chunks of all that `render` gives, each sequence whole.

    In a sequence that trains one user turn of several, the history up to that user message is a single "user" chunk
    after the system's.
    """
    return render(conversation, template, **options).whole()


def render(
    conversation: Conversation,
    template: Template,
    turns: list[Turn] | None = None,
    **options: Unpack[RenderOptions],
) -> Rendered:
    """Return the training sequences of a conversation.

    There is one, or with reasoning one per user turn (`turns_to_train`). Every sequence supervises something. With a
    template other than the bundled one, everything between two assistant turns is a single chunk, and no history is
    shared. `turns` are its `turns_to_train`, if they are known; `options` are those of `Template.render`.

    Raises:
        RowError: no_trained_turn, template_error, or template_mismatch if the assistant's text cannot be distinguished
            from the rest.
    """
    if turns is None:
        turns = turns_to_train(conversation.messages, _keeps_history_thinking(options))
    turns = _keep_trained(turns, conversation)
    if not turns:
        raise RowError(DropReason.NO_TRAINED_TURN, "the answers to user messages are all context only")
    if template.is_nemotron3:
        return _render_nemotron3(conversation, turns, options)
    return Rendered([], [Sequence(0, chunks) for chunks in _sequences_by_spans(conversation, template, options)])


def first_difference(
    template: Template, conversations: Iterable[Conversation], **options: Unpack[RenderOptions]
) -> str | None:
    """Describe where the chunks of `conversations` first differ from Jinja's text.

    None means nowhere. The bundled template's chunks come from plain Python, so a run checks a sample of its own data
    with this function. Chunks of any other template are cut from what Jinja rendered, and cannot differ. Each sequence
    of a conversation repeats those before it, so only the first, the middle and the last are compared.
    """
    if not template.is_nemotron3:
        return None
    for number, conversation in enumerate(conversations):
        turns = _keep_trained(turns_to_train(conversation.messages, _keeps_history_thinking(options)), conversation)
        if not turns:
            continue
        turns = [turns[index] for index in sorted({0, len(turns) // 2, len(turns) - 1})]
        for turn, chunks in zip(turns, _render_nemotron3(conversation, turns, options).whole(), strict=True):
            fast = "".join(chunk.text for chunk in chunks)
            truth = template.render(conversation.messages[: turn.stop], conversation.tools, **options)
            if (difference := describe_difference(fast, truth)) is not None:
                return f"conversation {number}, {difference}"
    return None


def describe_difference(fast: str, truth: str) -> str | None:
    """Describe where a text first differs from Jinja's; None means nowhere."""
    if fast == truth:
        return None
    pairs = enumerate(zip(fast, truth, strict=False))
    at = next((index for index, (a, b) in pairs if a != b), min(len(fast), len(truth)))
    here, there = fast[at : at + 40], truth[at : at + 40]
    return f"character {at}: {here!r} instead of {there!r}"


def _keeps_history_thinking(options: RenderOptions) -> bool:
    return not options.get("truncate_history_thinking", True)


def _keep_trained(turns: list[Turn], conversation: Conversation) -> list[Turn]:
    """Return the turns with an assistant message that trains."""
    return [turn for turn in turns if any(map(is_trained, conversation.messages[turn.start : turn.stop]))]


def _render_nemotron3(conversation: Conversation, turns: list[Turn], options: RenderOptions) -> Rendered:
    """Return the sequences of the bundled format.

    Each message is rendered once as history and once as its turn shows it.
    """
    messages = conversation.messages
    opening, shown = nemotron3.system_turn(messages, conversation.tools)
    effort = nemotron3.effort(options.get("reasoning_budget"), options.get("low_effort", False))
    keeps_thinking = _keeps_history_thinking(options)
    if turns[0].start == 0:  # it is the only one
        chunks = [Chunk("system", opening, False)]
        _add_turns(chunks, messages, range(shown, turns[0].stop), effort, keeps_thinking)
        return Rendered([], [Sequence(0, chunks)])
    history, sequences, rendered = [opening], [], shown
    for turn in turns:
        user = turn.start - 1
        if user > rendered:
            history.append("".join([nemotron3.history_turn(messages, index) for index in range(rendered, user)]))
            rendered = user
        chunks = [Chunk("user", nemotron3.plain_turn(messages[user], effort), False)]
        _add_turns(chunks, messages, range(turn.start, turn.stop), effort, keeps_thinking)
        sequences.append(Sequence(len(history), chunks))
    whole = Rendered(history, sequences)
    return whole if len(turns) > 1 else Rendered([], [Sequence(0, chunks) for chunks in whole.whole()])


def _add_turns(chunks: list[Chunk], messages: list[Message], indices: range, effort: str, keep_thinking: bool) -> None:
    """Add the last messages of a sequence, at `indices`, as separate chunks."""
    last_user = last_user_index(messages, indices.stop)
    role, text, supervised = chunks.pop()  # what may still grow
    for index in indices:
        message = messages[index]
        speaker = message["role"]
        if speaker == "assistant":
            prompt, answer = nemotron3.assistant_turn(message, index < last_user and not keep_thinking)
            if supervised:  # two assistant turns in a row, so no other chunk can take the prompt
                chunks += (Chunk(role, text, True), Chunk("assistant", prompt, False))
            else:
                chunks.append(Chunk(role, text + prompt, False))
            if ANSWER_ONLY in message:
                chunks += _make_chunks(message, answer)
                role, text, supervised = chunks.pop()
            else:
                role, text, supervised = speaker, answer, "train" not in message
        elif speaker == "tool" == role:
            text += nemotron3.tool_result(messages, index)
        else:
            chunks.append(Chunk(role, text, supervised))
            is_result, ending = speaker == "tool", effort if index == last_user else ""
            text = nemotron3.tool_result(messages, index) if is_result else nemotron3.plain_turn(message, ending)
            role, supervised = speaker, False
    chunks.append(Chunk(role, text, supervised))


def _make_chunks(message: Message, text: str) -> list[Chunk]:
    """Return the text of an assistant's message in chunks.

    This is one chunk, or two if a cut thought is not supervised: the thought and the rest.
    """
    thought = message.get("reasoning_content", "")
    answer = text.find(END_THINK, len(thought) if text.startswith(thought) else 0) if message.get(ANSWER_ONLY) else -1
    if answer <= 0 or not is_trained(message):
        return [Chunk(message["role"], text, is_trained(message))]
    return [Chunk(message["role"], text[:answer], False), Chunk(message["role"], text[answer:], True)]


def _sequences_by_spans(conversation: Conversation, template: Template, options: RenderOptions) -> list[list[Chunk]]:
    """Return the sequences of any other template.

    There are as few as possible, in a form of the messages in which the template shows everything that they say.

    Raises:
        RowError: The template always loses something, or fails.
    """
    template = template.for_tools(conversation.tools)
    failures: list[RowError] = []
    with limit_resources(template.name):
        groupings = _list_groupings(conversation, template)
        for messages in list_forms(conversation.messages, template.source):
            for turns in groupings:
                try:
                    return [_sequence_by_spans(conversation, messages, template, turn, options) for turn in turns]
                except RowError as error:
                    failures.insert(0, error)  # of each form, the last grouping is the most informative
                    if error.reason == DropReason.TEMPLATE_ERROR:
                        break
    raise max(failures, key=_rank_failure)


class LostPart(RowError):
    """A template does not show a part of a message."""

    def __init__(self, detail: str) -> None:
        super().__init__(DropReason.TEMPLATE_MISMATCH, detail)


def _rank_failure(failure: RowError) -> int:
    """Rank a failure by how much it says about the template.

    A template that fails, or loses a part, may only need another form of the messages.
    """
    return 0 if failure.reason == DropReason.TEMPLATE_ERROR else 1 if isinstance(failure, LostPart) else 2


def _list_groupings(conversation: Conversation, template: Template) -> list[list[Turn]]:
    """Return the ways to divide a conversation into sequences, the fewest first.

    A template that never changes the history needs one sequence. A template that removes the reasoning of earlier
    turns, or shows the newest answer differently, needs one per user turn. If it does so even between the calls of a
    turn, it needs one per answer.
    """
    messages = conversation.messages
    keep_thinking = not drops_history_thinking(template)
    answers = [Turn(index, index + 1) for index in range(len(messages))]
    groupings: list[list[Turn]] = []
    for turns in (turns_to_train(messages, keep_thinking), per_user_turn(messages), answers):
        turns = _keep_trained(turns, conversation)
        if turns and (not groupings or len(turns) > len(groupings[-1])):
            groupings.append(turns)
    return groupings


def _sequence_by_spans(
    conversation: Conversation, messages: list[Message], template: Template, turn: Turn, options: RenderOptions
) -> list[Chunk]:
    """Return one sequence of any other template: the assistant's spans and the rest.

    Args:
        conversation: With normalised messages, which say what must be shown.
        messages: The same messages in the form that the template reads.
    """
    said = conversation.messages[: turn.stop]
    text, spans = find_assistant_spans(template, messages[: turn.stop], conversation.tools, turn.start, options)
    _ensure_shown(said, turn, text, spans, template)
    chunks, position, previous = [], 0, -1
    for index, begin, end in spans:
        if begin > position:
            before = index if index == previous else index - 1
            chunks.append(Chunk(said[before]["role"] if before >= 0 else "system", text[position:begin], False))
        chunks.extend(_make_chunks(said[index], text[begin:end]))
        position, previous = end, index
    if position < len(text):
        chunks.append(Chunk(said[-1]["role"], text[position:], False))
    return chunks


def _ensure_shown(said: list[Message], turn: Turn, text: str, spans: list[Span], template: Template) -> None:
    """Check that a template shows everything in each trained message, and ends it.

    Raises:
        RowError: It does not, in the message's spans.
    """
    shown: dict[int, list[str]] = {}
    for index, begin, end in spans:
        shown.setdefault(index, []).append(text[begin:end])
    for index in range(turn.start, turn.stop):
        if not is_trained(said[index]):
            continue
        of_message = "\0".join(shown.get(index, ()))
        if lost := find_lost(said[index], of_message):
            raise LostPart(f"{template.name} does not show {lost} of message {index} (assistant)")
        if template.ends and not of_message.rstrip().endswith(template.ends):
            detail = f"{template.name} does not end message {index} (assistant) with a stop token"
            raise RowError(DropReason.TEMPLATE_MISMATCH, detail)
