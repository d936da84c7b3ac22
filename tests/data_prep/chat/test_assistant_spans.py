"""Which characters of a rendered text an assistant's message wrote."""

from typing import Any

import pytest

from nemotron.data_prep.chat.assistant_spans import Span, find_assistant_spans
from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.template import RenderOptions, Template
from nemotron.data_prep.drop_reasons import DropReason, RowError

CHAT: list[Message] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because"},
    {"role": "user", "content": "Oh"},
    {"role": "assistant", "content": "Yes"},
]
PREFIXES = Template("by prefixes", "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}")
EFFORT = "{{ 'low ' if low_effort else 'high ' }}"


def marking(answer: str, after: str = "") -> Template:
    """A template that marks `answer` of each assistant's message, and writes `after` it."""
    inside = f"{{% generation %}}{answer}{{% endgeneration %}}{after}"
    return Template("marking", f"{EFFORT}{{% for m in messages %}}{{% if m.role == 'user' %}}[{{{{ m.content }}}}]"
                    f"{{% else %}}{inside}{{% endif %}}{{% endfor %}}")  # fmt: skip


def find(template: Template, messages: list[Message] = CHAT, start: int = 0, **options: Any) -> tuple[str, list[str]]:
    """The rendered text, and the piece of each span with the number of its message."""
    chosen: RenderOptions = options  # pyright: ignore[reportAssignmentType]
    text, spans = find_assistant_spans(template, messages, None, start, chosen)
    return text, [f"{message} {text[begin:end]}" for message, begin, end in spans]


def test_the_messages_before_the_start_have_no_span():
    for template in (marking("{{ m.content }}"), PREFIXES):
        assert [piece.partition(":")[0][0] for piece in find(template, start=2)[1]] == ["3", "5"]
    assert find_assistant_spans(marking("{{ m.content }}"), CHAT[:2], None, 0, {})[1] == [Span(1, 9, 14)]


@pytest.mark.parametrize(
    "template",
    [marking("{{ m.content }}"), Template("prefixes", EFFORT + "{% for m in messages %}{{ m.content }};{% endfor %}")],
)
def test_every_rendering_has_the_options_of_the_conversation(template: Template):
    text, pieces = find(template, low_effort=True)
    assert text.startswith("low ")
    assert [piece.rstrip(";") for piece in pieces] == ["1 Hello", "3 Because", "5 Yes"]
    assert find(template)[0].startswith("high ")


@pytest.mark.parametrize("ending", ["{{ m.content }}{{ '!' if loop.last else '.' }}", "{{ m.content if loop.last }}."])
def test_an_answer_that_looks_different_when_more_follows_is_refused(ending: str):
    """The first one that may train must be as the model wrote it."""
    with pytest.raises(RowError, match=r"message 1 \(assistant\)") as refused:
        find(marking(ending))
    assert refused.value.reason == DropReason.TEMPLATE_MISMATCH
    with pytest.raises(RowError, match=r"message 3 \(assistant\)"):
        find(marking(ending), start=3)


def test_what_a_template_writes_after_an_answer_may_depend_on_what_follows():
    assert find(marking("{{ m.content }}", after="{{ '!' if loop.last else '.' }}"))[1] == [
        "1 Hello", "3 Because", "5 Yes",
    ]  # fmt: skip


def test_an_answer_without_text_has_no_span():
    messages = [CHAT[0], {"role": "assistant", "content": ""}, *CHAT[2:4]]
    assert find(marking("{{ m.content }}"), messages)[1] == ["3 Because"]


def test_the_spans_of_several_blocks_belong_to_the_message_that_wrote_them():
    twice = "{{ m.content }}{% endgeneration %}|{% generation %}{{ m.content if m.content == 'Because' }}"
    assert find(marking(twice))[1] == ["1 Hello", "3 Because", "3 Because", "5 Yes"]
