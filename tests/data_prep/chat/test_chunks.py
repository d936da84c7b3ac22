import json
from pathlib import Path

import pytest

from nemotron.data_prep.chat.chunks import (
    Chunk,
    LostPart,
    _make_chunks,
    _rank_failure,
    first_difference,
    render,
    sequences,
)
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.reasoning import ANSWER_ONLY, turns_to_train
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import DropReason, RowError

GOLDEN = [
    json.loads(line) for line in (Path(__file__).parents[2] / "data" / "chat_format.jsonl").open(encoding="utf-8")
]
NEMOTRON3 = load_template("nemotron3")

SYSTEM = {"role": "system", "content": "Be brief."}
HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
WHY = {"role": "user", "content": "Why?"}
BECAUSE = {"role": "assistant", "content": "Because.", "reasoning_content": "Hm."}
EMPTY_SYSTEM = Chunk("system", "<|im_start|>system\n<|im_end|>\n", False)


def chunked(*messages: dict, template: Template = NEMOTRON3, **options) -> list[list[Chunk]]:
    return sequences(parse_row({"messages": list(messages)}), template, **options)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in GOLDEN])
def test_chunks_are_those_of_the_public_recipe(case: dict):
    result = sequences(parse_row(case), NEMOTRON3)

    assert [[[chunk.role, chunk.text] for chunk in chunks] for chunks in result] == case["sequences"]
    assert all(chunk.supervised == (chunk.role == "assistant") for chunks in result for chunk in chunks)


def test_the_answer_begins_after_its_generation_prompt():
    assert chunked(SYSTEM, HI, HELLO) == [
        [
            Chunk("system", "<|im_start|>system\nBe brief.<|im_end|>\n", False),
            Chunk("user", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think></think>", False),
            Chunk("assistant", "Hello<|im_end|>\n", True),
        ]
    ]


def test_reasoning_is_supervised_only_where_inference_would_show_it():
    first, second = chunked(HI, HELLO | {"reasoning_content": "A greeting."}, WHY, BECAUSE)

    assert first == [
        EMPTY_SYSTEM,
        Chunk("user", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n", False),
        Chunk("assistant", "A greeting.\n</think>\nHello<|im_end|>\n", True),
    ]
    history = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think></think>\nHello<|im_end|>\n"
    assert second == [
        EMPTY_SYSTEM,
        Chunk("user", f"{history}<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n<think>\n", False),
        Chunk("assistant", "Hm.\n</think>\nBecause.<|im_end|>\n", True),
    ]


def test_a_conversation_may_begin_with_the_assistant():
    system, answer, user, _ = chunked(HELLO, WHY, HELLO)[0]

    assert system == Chunk("system", EMPTY_SYSTEM.text + "<|im_start|>assistant\n<think></think>", False)
    assert answer == Chunk("assistant", "Hello<|im_end|>\n", True)
    assert (user.role, user.supervised) == ("user", False)


def test_the_prompt_between_two_assistant_turns_is_not_supervised():
    assert chunked(HI, HELLO, HELLO)[0][2:] == [
        Chunk("assistant", "Hello<|im_end|>\n", True),
        Chunk("assistant", "<|im_start|>assistant\n<think></think>", False),
        Chunk("assistant", "Hello<|im_end|>\n", True),
    ]


def test_inline_thoughts_are_reasoning_too():
    inline = {"role": "assistant", "content": "<think>\nA greeting.\n</think>\n\nHello"}

    first, second = chunked(HI, inline, WHY, HELLO)

    assert first[1].text.endswith("<|im_start|>assistant\n<think>\n")
    assert first[2] == Chunk("assistant", "A greeting.\n</think>\n\nHello<|im_end|>\n", True)
    assert "<think></think>\n\nHello<|im_end|>" in second[1].text


@pytest.mark.parametrize(
    ("content", "prompt", "answer"),
    [
        ("<think>Hm.</think>So.", "<think>", "Hm.</think>So."),
        ("<think></think>So.", "<think></think>", "So."),
        ("So. <think>Hm.</think>", "", "So. <think>Hm.</think>"),
    ],
)
def test_the_model_is_not_taught_to_open_its_thought(content: str, prompt: str, answer: str):
    chunks = chunked(HI, {"role": "assistant", "content": content})[0]

    assert chunks[1].text.endswith("<|im_start|>assistant\n" + prompt)
    assert chunks[2].text == answer + "<|im_end|>\n"


def test_tool_results_share_a_chunk():
    call = {"role": "assistant", "tool_calls": [{"name": "now", "arguments": {"zone": "UTC"}}]}
    results = [{"role": "tool", "content": "12:00"}, {"role": "tool", "content": "noon"}]

    _, _, calling, results_chunk, answer = chunked(HI, call, *results, HELLO)[0]

    assert calling.text == (
        "\n<tool_call>\n<function=now>\n<parameter=zone>\nUTC\n</parameter>\n</function>\n</tool_call>\n<|im_end|>\n"
    )
    assert results_chunk == Chunk(
        "tool",
        "<|im_start|>user\n<tool_response>\n12:00\n</tool_response>\n<tool_response>\nnoon\n</tool_response>\n<|im_end|>\n"
        "<|im_start|>assistant\n<think></think>",
        False,
    )
    assert answer.supervised


def test_what_follows_the_last_answer_is_context():
    assert chunked(HI, HELLO, WHY)[0][-1] == Chunk("user", "<|im_start|>user\nWhy?<|im_end|>\n", False)


def test_a_turn_marked_as_context_is_not_supervised():
    chunks = chunked(HI, HELLO | {"train": False}, WHY, HELLO)[0]

    assert [chunk.supervised for chunk in chunks if chunk.role == "assistant"] == [False, True]


def test_sequences_that_would_train_nothing_are_left_out():
    (only,) = chunked(HI, HELLO, WHY, BECAUSE | {"weight": 0}, HI, HELLO)[1:]

    assert only[-1] == Chunk("assistant", "Hello<|im_end|>\n", True)
    with pytest.raises(RowError) as caught:
        chunked(HELLO, WHY, BECAUSE | {"train": False})
    assert caught.value.reason == DropReason.NO_TRAINED_TURN


def test_kept_thinking_is_supervised_in_one_sequence():
    (chunks,) = chunked(HI, BECAUSE, WHY, BECAUSE, truncate_history_thinking=False)

    assert [chunk.text for chunk in chunks if chunk.supervised] == ["Hm.\n</think>\nBecause.<|im_end|>\n"] * 2


def test_effort_goes_to_the_last_user_turn_of_each_sequence():
    for chunks in chunked(HI, BECAUSE, WHY, BECAUSE, low_effort=True):
        assert chunks[1].text.count("{reasoning effort: low}") == 1
        assert "\n\n{reasoning effort: low}<|im_end|>\n<|im_start|>assistant\n<think>\n" in chunks[1].text


def edited(old: str, new: str) -> Template:
    """The bundled template with an edit, so that it is treated as any user's."""
    assert old in NEMOTRON3.source
    return Template("edited.jinja", NEMOTRON3.source.replace(old, new))


UNMARKED = Template(
    "unmarked.jinja", NEMOTRON3.source.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
)
MARKED_ALIKE = edited("{%- set turns = messages -%}", "{%- set turns = messages[:] -%}")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in GOLDEN])
def test_other_templates_supervise_the_same_text_by_prefixes(case: dict):
    conversation = parse_row(case)

    result = sequences(conversation, UNMARKED)

    expected = sequences(conversation, NEMOTRON3)
    assert rendered(result) == rendered(expected)
    assert supervised(result) == supervised(expected)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in GOLDEN])
def test_the_blocks_of_the_bundled_template_hold_the_same_text(case: dict):
    conversation = parse_row(case)

    result = sequences(conversation, MARKED_ALIKE)

    expected = sequences(conversation, NEMOTRON3)
    assert rendered(result) == rendered(expected)
    assert supervised(result) == [[text.removesuffix("\n") for text in texts] for texts in supervised(expected)]


def rendered(result: list[list[Chunk]]) -> list[str]:
    return ["".join(chunk.text for chunk in chunks) for chunks in result]


def supervised(result: list[list[Chunk]]) -> list[list[str]]:
    return [[chunk.text for chunk in chunks if chunk.supervised] for chunks in result]


MARKED = Template(
    "marked.jinja",
    "{%- for m in messages -%}"
    "[{{ m.role }}]"
    "{%- if m.role == 'assistant' -%}{%- generation -%}{{ m.content | trim }}</s>{%- endgeneration -%}"
    "{%- else -%}{{ m.content }}{%- endif -%}"
    "{%- endfor -%}",
)


def test_generation_blocks_say_what_the_assistant_wrote():
    assert chunked(SYSTEM, HI, HELLO, WHY, HELLO | {"train": False}, template=MARKED) == [
        [
            Chunk("user", "[system]Be brief.[user]Hi[assistant]", False),
            Chunk("assistant", "Hello</s>", True),
            Chunk("user", "[user]Why?[assistant]", False),
            Chunk("assistant", "Hello</s>", False),
        ]
    ]


def test_what_a_template_writes_after_the_last_block_is_its_last_messages():
    trailing = Template(
        "trailing.jinja",
        "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}</s>{% endgeneration %}|{% else %}{{ m.content }}{% endif %}{% endfor %}",
    )
    assert chunked(HI, HELLO, template=trailing) == [
        [
            Chunk("user", "[user]Hi[assistant]", False),
            Chunk("assistant", "Hello</s>", True),
            Chunk("assistant", "|", False),
        ]
    ]


def test_generation_blocks_survive_filters_and_macros():
    captured = Template(
        "captured.jinja",
        "{% macro turn(m) %}{% generation %} {{ m.content }} {% endgeneration %}{% endmacro %}"
        "{% set text %}{% for m in messages %}"
        "{{ turn(m) if m.role == 'assistant' else m.content }}|{% endfor %}{% endset %}{{ text }}",
    )

    assert supervised(chunked(HI, HELLO, template=captured)) == [[" Hello "]]
    assert captured.render([HI, HELLO], None) == "Hi| Hello |"


def test_several_generation_blocks_in_a_turn_are_all_supervised():
    two_blocks = Template(
        "two_blocks.jinja",
        "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}"
        "{% if m.reasoning_content %}<t>{% generation %}{{ m.reasoning_content }}</t>{% endgeneration %}{% endif %}"
        "|{% generation %}{{ m.content }}</s>{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    )

    (chunks,) = chunked(HI, BECAUSE, WHY, HELLO | {"train": False}, HI, BECAUSE, template=two_blocks)

    assert [(chunk.text, chunk.supervised) for chunk in chunks if chunk.role == "assistant"] == [
        ("Hm.</t>", True), ("|", False), ("Because.</s>", True),
        ("Hello</s>", False),
        ("Hm.</t>", True), ("|", False), ("Because.</s>", True),
    ]  # fmt: skip


def test_blocks_are_the_turns_that_wrote_them_even_where_there_are_as_many_blocks_as_turns():
    marks_thinkers = Template(
        "marks_thinkers.jinja",
        "{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content %}"
        "{% generation %}{{ m.reasoning_content }}{% endgeneration %}|"
        "{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    )

    (chunks,) = chunked(HI, HELLO | {"train": False}, WHY, BECAUSE, template=marks_thinkers)

    assert chunks == [
        Chunk("user", "[user]Hi[assistant]Hello[user]Why?[assistant]", False),
        Chunk("assistant", "Hm.", True), Chunk("assistant", "|", False), Chunk("assistant", "Because.", True),
    ]  # fmt: skip


def test_a_template_that_marks_the_newest_turn_alone_trains_each_answer_alone():
    newest_only = Template(
        "newest_only.jinja",
        "{% for m in messages[:-1] %}{{ m.content }}{% endfor %}"
        "{% generation %}{{ messages[-1].content }}{% endgeneration %}",
    )

    assert supervised(chunked(HI, HELLO, HELLO, template=newest_only)) == [["Hello"], ["Hello"]]


def test_an_answer_is_trained_as_it_looks_before_the_next_question():
    """The whole conversation shows the first answer without its thought, so that each answer is a sequence."""
    drops_thoughts = Template(
        "drops_thoughts.jinja",
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.reasoning_content if loop.last }}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    )

    assert supervised(chunked(HI, BECAUSE, WHY, HELLO, template=drops_thoughts)) == [["Hm.Because."], ["Hello"]]


def test_what_follows_a_generation_block_may_depend_on_what_follows_the_message():
    separated = Template(
        "separated.jinja",
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{{ '.' if loop.last else '|' }}{% endfor %}",
    )

    assert supervised(chunked(HI, HELLO, WHY, HELLO, template=separated)) == [["Hello", "Hello"]]


def test_a_template_that_marks_too_few_turns_is_refused():
    first_only = Template(
        "first_only.jinja",
        "{% for m in messages %}{% if loop.index == 2 %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    )

    with pytest.raises(RowError, match="message 2") as caught:
        chunked(HI, HELLO, HELLO, template=first_only)
    assert caught.value.reason == DropReason.TEMPLATE_MISMATCH


def test_generation_blocks_inside_each_other_are_refused():
    nested = Template(
        "nested.jinja",
        "{% for m in messages %}{% generation %}a{% generation %}{{ m.content }}{% endgeneration %}{% endgeneration %}"
        "{% endfor %}",
    )

    with pytest.raises(RowError, match="nested") as caught:
        chunked(HI, HELLO, template=nested)
    assert caught.value.reason == DropReason.TEMPLATE_MISMATCH


def test_a_template_whose_prefixes_change_is_refused_not_masked_wrongly():
    counting = Template("counting.jinja", "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}")

    with pytest.raises(RowError, match="message 1") as caught:
        chunked(HI, HELLO, template=counting)
    assert caught.value.reason == DropReason.TEMPLATE_MISMATCH


def test_of_two_prompts_that_an_answer_may_follow_it_is_the_longer():
    """The one without thinking begins the one with it; what opens the thought is no part of the answer."""
    opens_thoughts = Template(
        "opens_thoughts.jinja",
        "{% for m in messages %}[{{ m.role }}]"
        "{% if m.role == 'assistant' %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{{ '<think>' if enable_thinking }}{% endif %}",
    )

    assert supervised(chunked(HI, BECAUSE, template=opens_thoughts)) == [["Hm.</think>Because."]]


def test_the_error_is_of_the_form_of_messages_that_the_template_reads():
    """It loses `reasoning_content`; as `thinking` it shows the thought, and marks even the history by it."""
    reads_thinking = Template(
        "reads_thinking.jinja",
        "{{ '*' if messages[-1].thinking }}{% for m in messages %}{{ m.thinking }}{{ m.content }}{% endfor %}",
    )

    with pytest.raises(RowError, match=r"renders message 1 \(assistant\) differently"):
        chunked(HI, BECAUSE, template=reads_thinking)


def test_a_template_that_shows_answers_differently_in_the_history_trains_each_turn_alone():
    marks_the_newest = Template(
        "newest.jinja",
        "{% for m in messages %}"
        "[{{ m.role }}]{{ '*' if loop.last and m.role == 'assistant' }}{{ m.content }}"
        "{% endfor %}"
        "{{ '[assistant]' if add_generation_prompt }}",
    )

    assert chunked(HI, HELLO, WHY, HELLO, template=marks_the_newest) == [
        [Chunk("user", "[user]Hi[assistant]", False), Chunk("assistant", "*Hello", True)],
        [Chunk("user", "[user]Hi[assistant]Hello[user]Why?[assistant]", False), Chunk("assistant", "*Hello", True)],
    ]


def test_a_template_with_generation_blocks_always_knows_that_no_prompt_is_asked_for():
    asks = Template("asks.jinja", "{% if add_generation_prompt is not defined %}{{ 1 / 0 }}{% endif %}" + MARKED.source)
    assert chunked(HI, HELLO, template=asks) == chunked(HI, HELLO, template=MARKED)


@pytest.mark.parametrize(
    ("fields", "text", "chunks"),
    [
        ({ANSWER_ONLY: True}, "a</think>b", [("a", False), ("</think>b", True)]),
        ({}, "a</think>b", [("a</think>b", True)]),
        ({ANSWER_ONLY: True, "train": False}, "a</think>b", [("a</think>b", False)]),
        ({ANSWER_ONLY: True}, "</think>b", [("</think>b", True)]),
        ({ANSWER_ONLY: True}, "b", [("b", True)]),
        ({ANSWER_ONLY: True}, "a</think>b </think>", [("a", False), ("</think>b </think>", True)]),
        (
            {ANSWER_ONLY: True, "reasoning_content": "</think>"},
            "</think></think>b",
            [("</think>", False), ("</think>b", True)],
        ),
    ],
)
def test_of_a_cut_thought_only_what_comes_after_it_trains(fields: dict, text: str, chunks: list):
    made = _make_chunks({"role": "assistant", "content": "b", **fields}, text)
    assert [(chunk.text, chunk.supervised) for chunk in made] == chunks


def test_an_answer_begins_after_the_longest_prompt_that_it_follows():
    """With thinking, the template opens the thought itself."""
    template = Template(
        "t",
        "{% for m in messages %}{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% if enable_thinking %}<think>{% endif %}{% endif %}",
    )
    [chunks] = chunked(HI, {"role": "assistant", "content": "<think>Hm.</think>Hello"}, template=template)
    assert [chunk.text for chunk in chunks if chunk.supervised] == ["Hm.</think>Hello<|im_end|>"]
    [chunks] = chunked(HI, HELLO, template=template)
    assert [chunk.text for chunk in chunks if chunk.supervised] == ["Hello<|im_end|>"]


def test_generation_blocks_of_others_than_the_assistant_cost_the_row():
    template = Template(
        "t", "{% for m in messages %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% endfor %}"
    )
    with pytest.raises(RowError, match=r"3 .*blocks with text for 1 assistant") as caught:
        chunked(HI, HELLO, WHY, template=template)
    assert caught.value.reason == DropReason.TEMPLATE_MISMATCH


def test_of_several_failures_the_one_that_says_most_about_the_template_is_reported():
    """A template that fails, or loses a part, may only need the messages in another form."""
    failed = RowError(DropReason.TEMPLATE_ERROR, "it fails")
    changed = RowError(DropReason.TEMPLATE_MISMATCH, "its prefixes change")
    lost = LostPart("it loses the reasoning")
    assert sorted([changed, lost, failed], key=_rank_failure) == [failed, lost, changed]
    assert sorted([lost, failed, changed], key=_rank_failure) == [failed, lost, changed]


def test_what_sequences_share_is_rendered_once():
    history, own = render(parse_row({"messages": [HI, BECAUSE, WHY, BECAUSE]}), NEMOTRON3)
    first_turn = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think></think>\nBecause.<|im_end|>\n"
    assert history == [EMPTY_SYSTEM.text, first_turn]
    assert [sequence.shared for sequence in own] == [1, 2]
    assert render(parse_row({"messages": [HI, BECAUSE]}), NEMOTRON3).history == []  # of a single one


def test_turns_that_are_known_are_not_looked_for_again():
    conversation = parse_row({"messages": [HI, BECAUSE, WHY, BECAUSE]})
    [last] = turns_to_train(conversation.messages)[1:]
    assert render(conversation, NEMOTRON3, [last]).whole() == sequences(conversation, NEMOTRON3)[1:]


def test_only_the_bundled_template_can_differ_from_jinja():
    plain = Template("plain", "{% for m in messages %}{{ m.content }};{% endfor %}")
    conversation = parse_row({"messages": [HI, HELLO]})
    assert first_difference(plain, [conversation]) is None
    assert first_difference(NEMOTRON3, [conversation]) is None


def test_a_cut_thought_does_not_train_in_the_bundled_format():
    cut = Conversation([HI, BECAUSE | {ANSWER_ONLY: True}])
    assert [(chunk.text, chunk.supervised) for chunk in sequences(cut, NEMOTRON3)[0][-2:]] == [
        ("Hm.\n", False), ("</think>\nBecause.<|im_end|>\n", True),
    ]  # fmt: skip


def test_between_generation_blocks_that_touch_there_is_nothing():
    block = "{% generation %}{{ m.content }}{% endgeneration %}"
    source = (
        "{% for m in messages %}{% if m.role == 'user' %}[Hi]{% else %}" + block + block + "{% endif %}{% endfor %}"
    )
    chunks = chunked(HI, HELLO, template=Template("twice", source))[0]
    assert [chunk.text for chunk in chunks] == ["[Hi]", "Hello", "Hello"]


def test_what_is_around_the_answers_is_of_the_message_next_to_it():
    template = Template("plain", "<s>{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}")
    [chunks] = chunked(HELLO, WHY, HELLO, HI, template=template)
    assert [(chunk.role, chunk.supervised) for chunk in chunks] == [
        ("system", False), ("assistant", True), ("user", False), ("assistant", True), ("user", False),
    ]  # fmt: skip
    assert "".join(chunk.text for chunk in chunks) == "<s>a:Hello;u:Why?;a:Hello;u:Hi;"
