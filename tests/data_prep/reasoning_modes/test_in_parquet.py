"""Modes as they are written: decoded from Parquet, with the mask."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from nemotron.data_prep.config import BudgetConfig, DataPrepConfig, ReasoningConfig
from nemotron.data_prep.pipeline import PrepResult, prepare

THINK, END = "<think>", "</think>"


def thinking(number: int, turns: int = 1, **extra: Any) -> dict[str, Any]:
    messages = []
    for turn in range(turns):
        thought = "".join(f"step {step} of {number}\n" for step in range(number % 30 + 1))
        messages.append({"role": "user", "content": f"question {number} {turn}?"})
        messages.append({"role": "assistant", "content": f"answer {number}!", "reasoning_content": thought})
    return {"messages": messages, **extra}


def sequences(result: PrepResult) -> list[tuple[list[int], list[int]]]:
    """(ids, mask of the targets at their own place) of every sequence in the training split."""
    found = []
    for path in sorted((result.splits_dir / "train").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            ids, mask = row["input_ids"], [0, *row["loss_mask"][:-1]]
            starts = [*row["seq_start_id"], len(ids)]
            for start, end in pairwise(starts):
                found.append((ids[start:end], mask[start:end]))
    return found


def budgeted(**budget: Any) -> ReasoningConfig:
    return ReasoningConfig(budget=BudgetConfig(**{"share": 1.0, "tokens": [20, 120], **budget}))


@pytest.fixture
def run(make_config: Callable[..., DataPrepConfig], write_rows: Callable) -> Callable[..., PrepResult]:
    def prepared(rows: list[dict[str, Any]], reasoning: ReasoningConfig, **settings: Any) -> PrepResult:
        write_rows("rows.jsonl", rows)
        return prepare(make_config("rows.jsonl", reasoning=reasoning, pack_size=2048, **settings))

    return prepared


@pytest.mark.parametrize("cut", ["token", "newline"])
@pytest.mark.parametrize("train", ["answer", "all"])
def test_a_cut_thought_is_within_its_budget_and_its_answer_whole(run, decode, train: str, cut: str) -> None:
    result = run([thinking(number) for number in range(60)], budgeted(train=train, cut=cut))
    cuts = 0
    for ids, mask in sequences(result):
        text = decode(ids)
        number = int(text.split("question ")[1].split()[0])
        assert f"{END}\nanswer {number}!<|im_end|>" in text
        whole = "".join(f"step {step} of {number}\n" for step in range(number % 30 + 1))
        thought = text.split(THINK)[1].split(END)[0]
        closing = ids.index(next(i for i in ids if decode([i]) == END))
        trained = decode([i for i, kept in zip(ids, mask, strict=True) if kept])
        if "thinking token budget: " not in text:
            assert thought == f"\n{whole}\n"
            assert trained == text.split(f"{THINK}\n")[1].removesuffix("\n")
            continue
        cuts += 1
        budget = int(text.split("thinking token budget: ")[1].split("}")[0])
        opening = ids.index(next(i for i in ids if decode([i]) == THINK))
        inside = closing - opening - 1
        assert inside <= budget
        assert inside >= budget * 0.85 if cut == "newline" else inside == budget
        assert whole.startswith(thought.removeprefix("\n").removesuffix("\n"))
        answer = f"{END}\nanswer {number}!<|im_end|>"
        assert trained == (answer if train == "answer" else thought.removeprefix("\n") + answer)
    assert cuts > 30
    modes = {mode.mode: mode for mode in result.metadata.datasets[0].modes}
    assert modes["budget"].conversations == cuts
    assert modes["budget"].conversations + modes["within_budget"].conversations == 60
    assert (modes["budget"].asked, modes["budget"].got) == (1.0, 1.0)


def test_tell_can_be_left_out(run, decode) -> None:
    result = run([thinking(29)], budgeted(tell=False))
    (ids, _) = sequences(result)[0]
    assert "thinking token budget" not in decode(ids)
    assert result.metadata.datasets[0].modes[0].mode == "budget"


def test_a_mode_holds_in_every_sequence_of_its_conversation(run, decode) -> None:
    made = sequences(run([thinking(25, turns=3)], budgeted(tokens=[40, 40])))
    assert len(made) == 3
    for ids, _ in made:
        text = decode(ids)
        assert text.count("{thinking token budget: 40}") == 1
        assert text.rindex("{thinking token budget: 40}") > text.rindex("question 25")
        assert text.count("step 0 of 25") == 1  # earlier thoughts are gone, as at inference


def test_off_is_one_sequence_in_the_no_thinking_form(run, decode) -> None:
    result = run([thinking(5, turns=2)], ReasoningConfig(off=1.0))
    ((ids, mask),) = sequences(result)
    text = decode(ids)
    assert text.count("<think></think>answer 5!") == 2
    assert "step" not in text
    assert decode([i for i, kept in zip(ids, mask, strict=True) if kept]) == "answer 5!<|im_end|>" * 2


def test_rows_say_their_own_mode_and_are_counted_apart(run, decode) -> None:
    rows = [
        thinking(1, reasoning="off"),
        thinking(2, reasoning="on"),
        thinking(3, chat_template_kwargs={"low_effort": True}),
        thinking(4, chat_template_kwargs={"reasoning_budget": 512}),
        thinking(5, reasoning="perhaps"),
        thinking(6),
    ]
    result = run(rows, ReasoningConfig(off=1.0))
    texts = "".join(decode(ids) for ids, _ in sequences(result))
    (stats,) = result.metadata.datasets
    assert {mode.mode: mode.conversations for mode in stats.modes} == {
        "off": 1, "row_on": 1, "row_off": 1, "row_low_effort": 1, "row_budget": 1,
    }  # fmt: skip
    assert [mode.got for mode in stats.modes if mode.mode == "off"] == [1.0]  # of those whose row says nothing
    assert stats.dropped == {"bad_reasoning_mode": 1}
    assert "question 3 0?\n\n{reasoning effort: low}" in texts
    assert "question 4 0?\n\n{thinking token budget: 512}" in texts
    assert "step 0 of 1\n" not in texts
    assert "step 0 of 2\n" in texts


def test_splits_duplicates_and_other_rows_ignore_the_mode(run) -> None:
    rows = [thinking(number) for number in range(150)]
    ratios = {"train_ratio": 0.5, "valid_ratio": 0.25, "test_ratio": 0.25}
    counts = []
    for reasoning in (ReasoningConfig(), ReasoningConfig(off=0.3), budgeted(share=0.5)):
        metadata = run([*rows, rows[0]], reasoning, dedupe=True, **ratios).metadata
        counts.append([split.conversations for split in metadata.splits])
        assert metadata.datasets[0].duplicates == 1
    assert counts[0] == counts[1] == counts[2]


def test_low_effort_datasets_give_their_share_of_the_mix(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable
) -> None:
    write_rows("long.jsonl", [thinking(number) for number in range(90)])
    write_rows("short.jsonl", [thinking(number, turns=2) for number in range(40)])
    entries = [{"path": "long.jsonl"}, {"path": "short.jsonl", "reasoning": {"effort": "low"}}]
    blend = {"datasets": entries}
    for share, conversations in ((0.1, 10), (0.25, 30), (0.5, 40)):
        config = make_config(blend=blend, reasoning=ReasoningConfig(low_effort=share), pack_size=2048)
        metadata = prepare(config).metadata
        long, short = metadata.datasets
        assert (long.kept, short.kept) == (90, conversations)
        assert [mode.mode for mode in short.modes] == ["low_effort"]
        assert metadata.low_effort == {"asked": share, "got": pytest.approx(conversations / (90 + conversations))}


@pytest.mark.parametrize(
    ("reasoning", "message"),
    [
        ({"of": 0.1}, 'Did you mean "off"'),
        ({"effort": "lwo"}, "effort"),
        ({"budget": {"share": 2}}, r"budget\.share"),
        ({"budget": {"tokens": [50, 5]}}, r"budget\.tokens"),
    ],
)
def test_a_datasets_own_section_is_checked(make_config, write_rows, reasoning, message) -> None:
    write_rows("a.jsonl", [thinking(1)])
    config = make_config(blend={"datasets": [{"path": "a.jsonl", "reasoning": reasoning}]})
    with pytest.raises(Exception, match=message):
        prepare(config)


def test_a_datasets_own_section_replaces_the_configs_keys(make_config, write_rows) -> None:
    write_rows("a.jsonl", [thinking(number) for number in range(20)])
    blend = {"datasets": [{"path": "a.jsonl", "reasoning": {"off": 0, "budget": {"share": 1}}}]}
    config = make_config(blend=blend, reasoning=ReasoningConfig(off=1.0), pack_size=2048)
    modes = {mode.mode for mode in prepare(config).metadata.datasets[0].modes}
    assert modes <= {"budget", "within_budget"}


def test_inspect_says_the_mode_and_why(tmp_path: Path, capsys) -> None:
    from nemotron.cli.app import run as nemotron

    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(thinking(25)) + "\n" + json.dumps(thinking(3, reasoning="off")) + "\n")
    settings = ["reasoning.budget.share=1", "reasoning.budget.tokens=[16,16]"]
    assert nemotron(["super3", "data", "inspect", str(path), "--json", *settings]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["mode"] for row in rows] == ["budget", "row_off"]
    assert "16 tokens" in rows[0]["mode_reason"]
    assert "{thinking token budget: 16}" in rows[0]["sequences"][0][1]["text"]
