"""Where prompts come from, and which are taken."""

import json

import pytest

from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.sources.blend import Dataset
from nemotron.errors import UserError
from nemotron.lineage import log_artifact
from nemotron.rollouts.config import PromptsConfig
from nemotron.rollouts.prompts import _make_admission, read_prompts


def asked(prompts):
    return [prompt.messages[-1]["content"] for prompt in prompts.prompts]


def conversation(*turns, **extra):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)], **extra}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_same_prompts_are_chosen_whatever_their_order(tmp_path):
    rows = [conversation(f"q{i}", "a") for i in range(200)]
    there = write(tmp_path / "a.jsonl", rows)
    back = write(tmp_path / "b.jsonl", rows[::-1])
    config = [PromptsConfig(source=str(path), samples=20) for path in (there, back)]
    first, second = (read_prompts(one, tmp_path) for one in config)
    assert asked(first) == asked(second)
    assert len(set(asked(first))) == 20
    assert asked(read_prompts(PromptsConfig(source=str(there), samples=20, seed=1), tmp_path)) != asked(first)


def test_a_blend_is_sampled_in_its_shares(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.jsonl", [conversation(f"{name}{i}", "x") for i in range(100)])
    blend = {"datasets": [{"path": "a.jsonl", "weight": 3}, {"path": "b.jsonl", "weight": 1}]}
    (tmp_path / "blend.json").write_text(json.dumps(blend))
    prompts = read_prompts(PromptsConfig(source=str(tmp_path / "blend.json"), samples=40), tmp_path)
    assert sorted(text[0] for text in asked(prompts)) == ["a"] * 30 + ["b"] * 10


def test_where_a_dataset_has_too_few_all_shares_are_as_small(tmp_path):
    """Of a there are 2 for one half: 4 in all, of 50 that were asked for."""
    for name, count in (("a", 2), ("b", 10)):
        write(tmp_path / f"{name}.jsonl", [conversation(f"{name}{i}", "x") for i in range(count)])
    blend = {"datasets": [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl", "weight": 1}]}
    (tmp_path / "blend.json").write_text(json.dumps(blend))
    prompts = read_prompts(PromptsConfig(source=str(tmp_path / "blend.json"), samples=50), tmp_path)
    assert sorted(text[0] for text in asked(prompts)) == ["a"] * 2 + ["b"] * 2


def test_prompts_of_all_datasets_are_mixed_whatever_their_order(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.jsonl", [conversation(f"{name}{i}", "x") for i in range(20)])
    orders = []
    for number, names in enumerate(("ab", "ba")):
        blend = {"datasets": [{"path": f"{name}.jsonl"} for name in names]}
        (tmp_path / f"blend{number}.json").write_text(json.dumps(blend))
        orders.append(asked(read_prompts(PromptsConfig(source=str(tmp_path / f"blend{number}.json")), tmp_path)))
    assert orders[0] == orders[1]
    assert {text[0] for text in orders[0][:20]} == {"a", "b"}


def test_earlier_answers_are_asked_with_as_they_are_shown(tmp_path):
    """Without their thoughts, and without what says whether they train."""
    earlier = {"role": "assistant", "content": "hello", "reasoning_content": "a greeting", "train": False}
    user = {"role": "user", "content": "hi"}
    row = {"messages": [user, earlier, user, {"role": "assistant", "content": "again"}]}
    [prompt] = read_prompts(PromptsConfig(source=str(write(tmp_path / "a.jsonl", [row]))), tmp_path).prompts
    assert prompt.messages == [user, {"role": "assistant", "content": "hello"}, user]


def test_the_last_question_is_asked_once_and_the_answer_is_the_reference(tmp_path):
    rows = [
        conversation("hi", "hello", "2+2?", "<think>easy</think>4"),
        conversation("hi", "hello", "2+2?", "five"),
        conversation("3+3?", "six", expected_answer=6),
        {"messages": [{"role": "assistant", "content": "nobody asked"}]},
        conversation("only a question"),
    ]
    path = write(tmp_path / "rows.jsonl", rows)
    prompts = read_prompts(PromptsConfig(source=str(path)), tmp_path)
    assert {(prompt.messages[-1]["content"], prompt.reference) for prompt in prompts.prompts} == {
        ("2+2?", "4"),
        ("3+3?", "6"),
    }
    assert (prompts.rows, prompts.unusable, prompts.available) == (5, 2, 2)


def test_an_artifact_is_a_source(tmp_path):
    write(tmp_path / "a.jsonl", [conversation("q", "a")])
    (tmp_path / "blend.json").write_text(json.dumps({"datasets": [{"path": "a.jsonl"}]}))
    (tmp_path / "splits").mkdir()
    log_artifact(
        name="Data", type="dataset", path=tmp_path / "splits", root=tmp_path / "records",
        metadata={"blend": str(tmp_path / "blend.json")},
    )  # fmt: skip
    prompts = read_prompts(PromptsConfig(source="Data:latest"), tmp_path / "records")
    assert (asked(prompts), prompts.inputs) == (["q"], ["Data:v1"])
    with pytest.raises(UserError, match=r'Did you mean "Data"'):
        read_prompts(PromptsConfig(source="Dta"), tmp_path / "records")


def test_earlier_rollouts_are_a_source(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out/rollouts.jsonl", [conversation("q", "a")])
    records, metadata = tmp_path / "records", {"blend": "gone.json"}  # that the rollouts were made of
    log_artifact(name="Rollouts", type="dataset", path=tmp_path / "out", root=records, metadata=metadata)
    (tmp_path / "model").mkdir()
    log_artifact(name="Model", type="model", path=tmp_path / "model", root=records)
    assert asked(read_prompts(PromptsConfig(source="Rollouts"), records)) == ["q"]
    with pytest.raises(UserError, match="Model:v1 is a model, not chat data"):
        read_prompts(PromptsConfig(source="Model"), records)


@pytest.mark.parametrize(("given", "reference"), [(6, "6"), (0.5, "0.5"), (True, "six"), (" ", "six"), ([6], "six")])
def test_a_reference_is_a_text_or_a_number(tmp_path, given, reference):
    path = write(tmp_path / "a.jsonl", [conversation("3+3?", "six", expected_answer=given)])
    [prompt] = read_prompts(PromptsConfig(source=str(path)), tmp_path).prompts
    assert prompt.reference == reference


def test_blank_lines_are_no_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n" + json.dumps(conversation("q", "a")) + "\n \n")
    assert read_prompts(PromptsConfig(source=str(path)), tmp_path).rows == 1


def test_a_file_of_this_folder_needs_no_folder_before_its_name(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl", [conversation("q", "a")])
    monkeypatch.chdir(tmp_path)
    assert asked(read_prompts(PromptsConfig(source="a.jsonl"), tmp_path)) == ["q"]


def test_what_a_dataset_says_of_its_fields_wins_over_the_config():
    config = PromptsConfig(used_in_filter="rl")
    plain = _make_admission(Dataset("d", "d.jsonl"), Fields("m", "t", "openai"), config)
    assert (plain.fields, plain.used_in_filter) == (Fields("m", "t", "openai"), "rl")
    own = Dataset("d", "d.jsonl", filter="x", format="sharegpt", messages_field="mm", tools_field="tt")
    admitted = _make_admission(own, Fields("m", "t", "openai"), config)
    assert (admitted.fields, admitted.used_in_filter) == (Fields("mm", "tt", "sharegpt"), "x")


def test_more_samples_than_there_are_take_all(tmp_path):
    path = write(tmp_path / "a.jsonl", [conversation(f"q{i}", "a") for i in range(5)])
    assert len(read_prompts(PromptsConfig(source=str(path), samples=50), tmp_path).prompts) == 5


def test_a_source_without_prompts(tmp_path):
    path = write(tmp_path / "a.jsonl", [conversation("only asked")])
    with pytest.raises(UserError, match=rf"{path}.*\b1\b"):
        read_prompts(PromptsConfig(source=str(path)), tmp_path)
