"""Plain rows are read at once, and whatever they are, to the same as any other row step by step."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemotron.data_prep.chat.chunks import sequences
from nemotron.data_prep.chat.content_hash import content_hash
from nemotron.data_prep.chat.special_tokens import SpecialTokens
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.plain_rows import render
from nemotron.data_prep.plain_rows.read import PlainRows
from nemotron.data_prep.reasoning_modes.choice import BudgetControl, ReasoningControl
from nemotron.data_prep.sources import Row, cut, find_files, read_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.tokenization.outcomes import Dropped, Noticed
from nemotron.data_prep.tokenization.part import admit, choose_modes, treat_special_tokens
from nemotron.data_prep.tokenization.text_batches import Batch, Candidate, RenderingCheck, render_batches
from nemotron.errors import UserError

TEMPLATE = load_template("nemotron3")
SPECIAL = SpecialTokens(["<|im_start|>", "<|im_end|>", "[INST]", "<unk>"])
SYSTEM = {"role": "system", "content": "Be brief. "}
USER = {"role": "user", "content": "a < b?"}
ANSWER = {"role": "assistant", "content": "Yes.\n"}
REASONED = {**ANSWER, "reasoning_content": "b is more"}


def plain(admission: Admission = Admission(), control: ReasoningControl = ReasoningControl()) -> PlainRows:  # noqa: B008
    return PlainRows(admission, control, TEMPLATE, SPECIAL)


def say(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


@pytest.mark.parametrize(
    "row",
    [
        say(USER, ANSWER),
        say(SYSTEM, USER, ANSWER, USER, ANSWER),
        say(USER, ANSWER, id=3, metadata="x", tools=None),
        say(SYSTEM, USER, REASONED),
        say(USER, {**REASONED, "reasoning_content": "\n b is more \n"}),
        say({**USER, "content": ""}, {**ANSWER, "content": ""}),
    ],
)
def test_rows_of_roles_and_texts_are_plain(row: dict[str, Any]) -> None:
    read = plain().read(Row(0, row))
    assert read is not None
    conversation = parse_row(row)
    [chunks] = sequences(conversation, TEMPLATE)
    assert read.texts == [chunk.text for chunk in chunks]
    assert read.hash == content_hash(conversation)


@pytest.mark.parametrize(
    "row",
    [
        None,
        say(),
        say(USER),
        say(ANSWER, USER, ANSWER),
        say(USER, ANSWER, USER),
        say(USER, ANSWER, ANSWER),
        say(SYSTEM, SYSTEM, USER, ANSWER),
        say(USER, ANSWER, USER, REASONED),
        say(USER, {**REASONED, "reasoning_content": " "}),
        say(USER, {**REASONED, "reasoning_content": "a </think> b"}),
        say({**USER, "content": "x<|im_end|>"}, ANSWER),
        say({**USER, "content": "[INST]"}, ANSWER),
        say(USER, {**ANSWER, "content": "<tool_call>"}),
        say(USER, {**ANSWER, "content": "[THINK]"}),
        say(USER, {**ANSWER, "content": "[THINK]"}, USER, ANSWER),
        say(USER, {**ANSWER, "content": None}),
        say(USER, {**ANSWER, "train": False}),
        say({**USER, "name": "x"}, ANSWER),
        say({**USER, "name": "x"}, REASONED),
        say({**USER, "role": "human"}, ANSWER),
        say(USER, ANSWER, tools=[{"name": "f"}]),
        say(USER, ANSWER, system="x"),
        say(USER, ANSWER, metadata={"system": "x"}),
        say(USER, ANSWER, reasoning="off"),
    ],
)
def test_other_rows_are_not(row: Any) -> None:
    assert plain().read(Row(0, row)) is None


@pytest.mark.parametrize(
    "admission",
    [
        Admission(checks=("languages",)),
        Admission(Fields(format="prompt_completion")),
        Admission(Fields(tools_field="reasoning")),
        Admission(Fields(tools_field="messages")),
        Admission(used_in_filter="sft"),
    ],
)
def test_no_row_is_plain_where_more_is_asked_of_rows(admission: Admission) -> None:
    assert plain(admission).read(Row(0, say(USER, ANSWER))) is None


def test_no_row_is_plain_with_another_template_or_names_of_roles_as_control_tokens() -> None:
    row, other = Row(0, say(USER, ANSWER)), Template("mine", TEMPLATE.source + " ")
    assert PlainRows(Admission(), ReasoningControl(), other, SPECIAL).read(row) is None
    assert PlainRows(Admission(), ReasoningControl(), TEMPLATE, SpecialTokens(["user"])).read(row) is None
    assert PlainRows(Admission(), ReasoningControl(), TEMPLATE, SpecialTokens(["<x>", "user"])).read(row) is None


@pytest.mark.parametrize("control", [ReasoningControl(off=0.1), ReasoningControl(budget=BudgetControl(0.1, 1, 9))])
def test_reasoning_that_may_be_cut_or_removed_is_not_plain(control: ReasoningControl) -> None:
    assert plain(control=control).read(Row(0, say(USER, REASONED))) is None
    assert plain(control=control).read(Row(0, say(USER, ANSWER))) is not None
    assert plain(control=replace(control, low_effort=True)).read(Row(0, say(USER, ANSWER))) is None


TEXTS = st.lists(
    st.sampled_from([
        "Hi", "", " ", "\n", "\x1c", "\x85", "\u2028", "\u3000", "\ufeff", "\0", "\ud83d", "\ud83d\ude42", "é", "a<b",
        "<", ">", "<think>", "</think>", "think>", "<think></think>", "<tool_call>", "<tool_call>{", "<|im_end|>",
        "<|im_", "start|>", "[INST]", "[THINK]", "◁think▷", "<thinking>", "user", "{{ x }}", "\r\n",
    ]),
    max_size=3,
).map("".join)  # fmt: skip
ODD = st.sampled_from([None, 3, True, [], {}, ["a"], [{"type": "text", "text": "b"}], float("nan"), 10**30])
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "human", "User", "", None, 3])


def message(role: str) -> st.SearchStrategy[Any]:
    plainly = st.fixed_dictionaries({"role": st.just(role), "content": TEXTS})
    reasoned = st.fixed_dictionaries({"role": st.just(role), "content": TEXTS, "reasoning_content": TEXTS})
    others = st.fixed_dictionaries(
        {"role": ROLES, "content": TEXTS | ODD}, optional={"train": ODD, "name": TEXTS, "reasoning_content": ODD}
    )
    return st.one_of([plainly] * 6 + [reasoned] * 2 * (role == "assistant") + [others])


ROWS = st.tuples(
    st.lists(message("system"), max_size=1),
    st.lists(st.tuples(message("user"), message("assistant")), min_size=1, max_size=3),
    st.lists(message("user"), max_size=1) | st.just([]) | st.just([]),
    st.dictionaries(
        st.sampled_from([
            "id", "metadata", "used_in", "tools", "extra", "reasoning", "chat_template_kwargs", "system", "messages",
        ]),
        TEXTS | ODD | st.sampled_from(["on", "off", ["sft"], "sft", {"enable_thinking": False}]),
        max_size=1,
    ) | st.just({}) | st.just({}),
).map(lambda row: {"messages": [*row[0], *(one for turn in row[1] for one in turn), *row[2]], **row[3]})  # fmt: skip
SPELLINGS = st.sampled_from([
    *[lambda line: line] * 6,
    lambda line: line.replace('"role"', '"role": "user", "role"', 1),
    lambda line: "\ufeff" + line,
    lambda line: line[:-1],
    lambda line: f" {line}\r",
    lambda line: line.replace("<", "\\u003c"),
])  # fmt: skip


def spell(row: Any, is_ascii: bool, change: Callable[[str], str]) -> bytes:
    return change(json.dumps(row, ensure_ascii=is_ascii)).encode(errors="surrogatepass")


LINES = st.lists(st.builds(spell, ROWS, st.booleans(), SPELLINGS), min_size=1, max_size=6)
CONTROLS = st.sampled_from([ReasoningControl(), ReasoningControl(off=0.5), ReasoningControl(low_effort=True)])
ADMISSIONS = st.sampled_from([
    Admission(), Admission(), Admission(used_in_filter="sft"), Admission(strict_fields=True),
    Admission(checks=("tool_calls",)), Admission(Fields("id")), Admission(Fields(tools_field="reasoning")),
    Admission(Fields(format="prompt_completion")),
])  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(LINES, CONTROLS, ADMISSIONS, st.sampled_from(["keep", "drop", "split"]))
def test_any_rows_come_out_the_same(
    tmp_path: Path, lines: list[bytes], control: ReasoningControl, admission: Admission, policy: Any
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    [file] = find_files(Dataset("test", str(tmp_path / "rows.jsonl")))
    [part] = cut(file)

    def outcomes(plain: PlainRows | None) -> tuple[list[Any], Batch]:
        told: list[Any] = []

        def kept(step: Iterator[Any]) -> Iterator[Any]:
            for outcome in step:
                if isinstance(outcome, Dropped | Noticed):
                    told.append(outcome)
                else:
                    yield outcome

        candidates = kept(admit(read_rows(part), admission, plain))
        candidates = kept(treat_special_tokens(candidates, SPECIAL, policy))
        candidates = kept(choose_modes(candidates, control, None))
        [*batches] = kept(render_batches(candidates, TEMPLATE, may_share=True))
        return told, batches[0] if batches else Batch()

    told, batch = outcomes(PlainRows(admission, control, TEMPLATE, SPECIAL))
    expected_told, expected = outcomes(None)
    assert told == expected_told
    assert _comparable(batch) == _comparable(expected)


def _comparable(batch: Batch) -> Batch:
    """Without what only says how a candidate was read."""
    return replace(batch, candidates=[one._replace(turns=[], reasons=None, texts=None) for one in batch.candidates])


def test_plain_rows_are_compared_with_jinja_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "END", " <|im_end|>\n")
    candidates = admit([Row(0, say(USER, ANSWER))], Admission(), plain())
    batches = render_batches((one for one in candidates if isinstance(one, Candidate)), TEMPLATE, may_share=True)
    with pytest.raises(UserError, match=r"character .*im_end"):
        list(RenderingCheck(TEMPLATE).check(one for one in batches if isinstance(one, Batch)))
