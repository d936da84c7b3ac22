"""What a message says is looked for in what the template renders for it."""

import html
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nemotron.data_prep.chat.null_content import NULL_TEXT
from nemotron.data_prep.chat.shown import find_lost


def said(content: str = "", **fields) -> dict:
    return {"role": "assistant", "content": content, **fields}


def calling(name: str, **arguments) -> dict:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = calling("weather", city='Ro"m\n東', days=[1, 2.5], raw=None, metric=True)
ARGUMENTS = WEATHER["function"]["arguments"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (said(" \n So it is.\n"), "So it is.<|im_end|>\n"),  # trimmed
        (said("a\n  b\n c"), "a\nb\nc</s>"),  # each line trimmed
        (said("<think>\nHm.\n</think>\n\nSo."), "Hm.\n</think>\nSo.</s>"),  # <think> was in the prompt
        (said("So.", reasoning_content="Hm."), "<|channel|>analysis Hm.<|channel|>final So."),
        (said("4", reasoning_content="2 + 2 is 4"), "2 + 2 is 4</think>4</s>"),  # the longest is looked for first
        (said(tool_calls=[WEATHER]), "weather" + json.dumps(ARGUMENTS)),
        (said(tool_calls=[WEATHER]), "weather" + json.dumps(ARGUMENTS, ensure_ascii=False, separators=(",", ":"))),
        (said(tool_calls=[WEATHER]), json.dumps({"name": "weather", "arguments": json.dumps(ARGUMENTS)})),
        (said(tool_calls=[WEATHER]), f"weather city={ARGUMENTS['city']} days=1,2.5 raw=None metric=True"),
        (said(tool_calls=[WEATHER]), html.escape("weather" + json.dumps(ARGUMENTS, ensure_ascii=False))),
        (said(tool_calls=[calling("now")]), "<call>now</call>"),
        (said("a  b", tool_calls=[calling("f")]), "a b f { }"),
        (said(tool_calls=[calling("a", city="Paris")]), "city=Paris a"),  # the name stands in the argument, too
        (said(), "</s>"),
        (said("<think>\nHm.\n</think>\n\nSo. "), "[Hm.] [So.]</s>"),  # blanks around a part may go
        (said("So.", reasoning_content=" \n"), "So.</s>"),
    ],
)
def test_parts_are_found_however_a_template_writes_them(message: dict, text: str):
    assert find_lost(message, text) is None


@pytest.mark.parametrize(
    ("message", "text", "lost"),
    [
        (said("So."), "</s>", "the content"),
        (said("4", reasoning_content="two and two"), "4</s>", "the reasoning"),
        (said("4", reasoning_content="4"), "4</s>", "the reasoning"),  # the one text is not shown twice
        (said("So.", reasoning_content="Hm, yes"), "Hm, So.yes</s>", "the reasoning"),  # the other stands in its middle
        (said("<think>Hm.</think>So."), "So.</s>", "the reasoning"),
        (said("<think>Hm.</think>So."), "Hm.</s>", "the content"),
        (said("I ask weather for Rome.", tool_calls=[calling("weather", city="Rome")]),
         "I ask weather for Rome.</s>", "the call of weather"),
        (said(tool_calls=[calling("a", x="1"), calling("b", x="2")]), 'a {"x": "1"}', "the call of b"),
        (said(tool_calls=[calling("weather", city="Rome")]), "weather(city)", "the argument city"),
        (said(tool_calls=[calling("f", a={"b": ["deep"]})]), 'f {"a": {"b": []}}', "the argument a"),
        (said(tool_calls=[calling("f", a="b")]), "f {'a': 'b'}", "JSON"),  # Python's spelling, printed by mistake
        (said(NULL_TEXT, tool_calls=[calling("f")]), "None f()", "None"),
    ],
)  # fmt: skip
def test_the_part_that_is_lost_is_named(message: dict, text: str, lost: str):
    assert lost in (find_lost(message, text) or "")


@example(content="", reasoning="<", value="0<", encode=html.escape)
@example(content="0", reasoning="\x1b", value="", encode=json.dumps)  # one text stands in the spelling of the other
@example(content="lt", reasoning="<", value="", encode=html.escape)
@given(content=st.text(), reasoning=st.text(), value=st.text(), encode=st.sampled_from([json.dumps, html.escape, str]))
def test_what_is_rendered_is_never_called_lost(content: str, reasoning: str, value: str, encode):
    message = said(content, reasoning_content=reasoning, tool_calls=[calling("f", x=value)])
    shown = f"{encode(reasoning)}\n{encode(content)}\nf {json.dumps({'x': value})}"
    assert find_lost(message, shown) is None


@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(json.dumps(text, ensure_ascii=False)[1:-1], ensure_ascii=False)[1:-1],
        lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
        html.escape,
        lambda text: html.escape(json.dumps(text, ensure_ascii=False)[1:-1]),
        lambda text: repr(text)[1:-1],
    ],
)
def test_a_text_is_found_in_each_spelling_and_only_whole(spell):
    text = 'Say "<hi>"\tto 東\'s'
    assert find_lost(said(text), f"[{spell(text)}]") is None
    assert find_lost(said(text), f"[{spell(text)[:-1]}]") == "the content"


def test_values_in_lists_inside_lists_are_looked_for():
    call = calling("f", a=[["deep", [5]]])
    assert find_lost(said(tool_calls=[call]), "f a deep 5") is None
    assert "the argument a" in (find_lost(said(tool_calls=[call]), "f a deep") or "")
    assert "the argument a" in (find_lost(said(tool_calls=[call]), "f a 5") or "")
