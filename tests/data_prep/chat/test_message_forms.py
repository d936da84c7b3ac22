"""A template gets messages as transformers gives them, or in another form where that would lose something."""

import pytest

from nemotron.data_prep.chat.chunks import sequences
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.message_forms import list_forms
from nemotron.data_prep.chat.null_content import NULL_TEXT
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.drop_reasons import DropReason, RowError

ASKED = {"role": "user", "content": "Weather in Rome?"}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
CALLING = {"role": "assistant", "content": NULL_TEXT, "tool_calls": [CALL]}
THINKING = {"role": "assistant", "content": "Sunny.", "reasoning_content": "It is May."}


def supervised(answer: dict, of_assistant: str) -> str:
    """What trains of an answer, in a template that renders assistants so and ends turns with `;`."""
    source = (
        "{% for m in messages %}" + "{% if m.role == 'assistant' %}" + of_assistant + ";{% else %}{{ m.content }};"
        "{% endif %}{% endfor %}"
    )
    (chunks,) = sequences(Conversation([ASKED, answer]), Template("t.jinja", source))
    return "".join(chunk.text for chunk in chunks if chunk.supervised)


def test_first_come_the_messages_as_transformers_gets_them():
    first, *_ = list_forms([ASKED, CALLING | {"reasoning_content": "Hm."}], "{{ m.thinking }}")

    assert first == [ASKED, CALLING | {"content": None, "reasoning_content": "Hm."}]
    assert first[1]["content"] is None


@pytest.mark.parametrize(
    ("of_assistant", "expected"),
    [
        ("{% if m.content is none %}CALL {{ m.tool_calls[0].function | tojson }}{% else %}{{ m.content }}{% endif %}",
         'CALL {"name": "weather", "arguments": {"city": "Rome"}};'),
        ("{{ m.content }}{{ m.tool_calls[0].function | tojson }}",  # null would be printed as None
         '{"name": "weather", "arguments": {"city": "Rome"}};'),
        ("{{ m.content + m.tool_calls[0].function.name + m.tool_calls[0].function.arguments }}",  # an object would fail
         'weather{"city": "Rome"};'),
        ("weather {{ m.tool_calls[0].function.arguments }}",  # an object would be printed as Python does
         'weather {"city": "Rome"};'),
    ],
)  # fmt: skip
def test_calls_are_given_in_the_form_that_shows_them(of_assistant: str, expected: str):
    assert supervised(CALLING, of_assistant) == expected


def test_empty_content_is_not_null():
    assert (
        supervised({"role": "assistant", "content": "So."}, "{{ 'null' if m.content is none else m.content }}")
        == "So.;"
    )


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_given_by_the_name_that_the_template_reads(name: str):
    assert supervised(THINKING, f"{{{{ m['{name}'] }}}}|{{{{ m.content }}}}") == "It is May.|Sunny.;"


@pytest.mark.parametrize(
    ("answer", "lost"),
    [(THINKING, "reasoning"), (CALLING, "call of weather")],
)
def test_a_template_that_shows_no_form_of_it_loses_the_row_not_the_part(answer: dict, lost: str):
    with pytest.raises(RowError, match=f"t.jinja .*{lost}.* message 1") as caught:
        supervised(answer, "{{ m.content }}")
    assert caught.value.reason == DropReason.TEMPLATE_MISMATCH


SAID = {"role": "assistant", "content": "Sunny."}
BLANK_CALLING = CALLING | {"content": ""}
TEXT_CALL = CALL | {"function": CALL["function"] | {"arguments": '{"city": "Rome"}'}}


@pytest.mark.parametrize(
    ("answers", "forms"),
    [
        ([SAID], [[SAID]]),
        ([SAID | {"content": NULL_TEXT}], [[SAID | {"content": None}], [SAID | {"content": ""}]]),
        (
            [SAID, CALLING],
            [
                [SAID, CALLING | {"content": None}],
                [SAID, CALLING],
                [SAID, CALLING | {"content": None, "tool_calls": [TEXT_CALL]}],
                [SAID, CALLING | {"tool_calls": [TEXT_CALL]}],
            ],
        ),
        (
            [SAID, BLANK_CALLING],
            [
                [SAID, BLANK_CALLING],
                [SAID, BLANK_CALLING | {"content": None}],
                [SAID, BLANK_CALLING | {"tool_calls": [TEXT_CALL]}],
                [SAID, BLANK_CALLING | {"content": None, "tool_calls": [TEXT_CALL]}],
            ],
        ),
        (
            [CALLING | {"content": "Let me see."}],
            [
                [CALLING | {"content": "Let me see."}],
                [CALLING | {"content": "Let me see.", "tool_calls": [TEXT_CALL]}],
            ],
        ),
        ([SAID | {"content": ""}], [[SAID | {"content": ""}]]),
        (
            [SAID, THINKING],
            [[SAID, THINKING], [SAID, {"role": "assistant", "content": "Sunny.", "thinking": "It is May."}]],
        ),
    ],
)
def test_only_what_assistants_say_has_other_forms(answers: list[dict], forms: list[list[dict]]):
    """A user's fields of the same names stay as they are."""
    user = ASKED | {"content": NULL_TEXT, "reasoning_content": "", "tool_calls": [CALL]}
    assert list(list_forms([user, *answers], "{{ m['thinking'] }}")) == [[user, *form] for form in forms]
