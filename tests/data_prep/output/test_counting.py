"""Counts over parts and files: what a receipt says of a part, told of the whole dataset."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zstandard

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.notes import NoteCount
from nemotron.data_prep.output.counting import _count_copies, _count_masked, _notes, ensure_something_trains
from nemotron.data_prep.output.dropped_rows import DROPPED_ROWS
from nemotron.data_prep.output.metadata import NoteStats
from nemotron.data_prep.output.places import PartPlace
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.selection.select import OUTCOMES
from nemotron.data_prep.sources import rows as source_rows
from nemotron.errors import UserError


def test_notes_are_located_by_the_line_of_the_file(
    make_config: Callable[..., DataPrepConfig],
    write_rows: Callable,
    chat: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Parts number lines from their own start, and every file begins again with line 1."""
    monkeypatch.setattr(source_rows, "LEAST_PART_BYTES", 300)  # several parts per file
    tmp_path.joinpath("both").mkdir()
    one = write_rows("both/one.jsonl", [chat(f"Question {n}", "" if n == 7 else "Answer " * 5) for n in range(10)])
    two = write_rows("both/two.jsonl", [chat(f"Question {n}", "" if n in (4, 8) else "Answer " * 5) for n in range(10)])
    result = prepare(make_config("both"))
    [planned] = result.plan.datasets
    assert min(len(file.parts) for file in planned.files) > 2
    places = [{"file": str(one), "line": 8}, {"file": str(two), "line": 5}, {"file": str(two), "line": 9}]
    assert result.metadata.datasets[0].notes == [NoteStats("empty_answer", "", 3, places)]


def test_dropped_rows_are_located_by_the_line_of_the_file(
    make_config: Callable[..., DataPrepConfig],
    write_rows: Callable,
    chat: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Those of the first phase, and those of the second: here, what is over-long."""
    monkeypatch.setattr(source_rows, "LEAST_PART_BYTES", 300)
    tmp_path.joinpath("both").mkdir()
    too_long = chat("Question", "word " * 300)
    one, two = (
        write_rows(f"both/{name}.jsonl", [*(chat(f"{name} {n}", "Answer " * 5) for n in range(8)), {"messages": 1}])
        for name in ("one", "two")
    )
    with two.open("a") as file:
        file.write(json.dumps(too_long) + "\n")
    result = prepare(make_config("both"))
    assert all(len(file.parts) > 2 for file in result.plan.datasets[0].files)
    with zstandard.open(result.plan.run_dir / DROPPED_ROWS, "rt") as file:
        listed = [json.loads(line) for line in file]
    assert [(row["file"], row["line"], row["reason"]) for row in listed] == [
        (str(one), 9, "no_messages"), (str(two), 9, "no_messages"), (str(two), 10, "overlong"),
    ]  # fmt: skip
    assert listed[-1]["detail"] == "the limit is 256 tokens, overlong: split_turns"


def test_a_dataset_has_its_share_of_the_split_that_it_is_listed_for(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable
) -> None:
    for name, count in (("a", 6), ("b", 2), ("c", 5)):
        write_rows(f"{name}.jsonl", [chat(f"{name} {n}", "Answer") for n in range(count)])
    paths = {"train": ["a", "b"], "valid": ["c"]}
    blend = {split: [{"path": f"{name}.jsonl"} for name in names] for split, names in paths.items()}
    datasets = prepare(make_config(blend=blend)).metadata.datasets
    assert [dataset.got for dataset in datasets] == [0.75, 0.25, 1.0]


def test_a_conversation_of_several_sequences_is_one_row_and_a_dataset_may_have_nothing_left(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable
) -> None:
    """Each turn with a thought is a sequence. All of `b` was in `a` already, and `c` has no conversation."""
    turn = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes", "reasoning_content": "Hm."}]
    write_rows("a.jsonl", [{"messages": turn * 2}, {"messages": turn}])
    write_rows("b.jsonl", [{"messages": turn * 2}])
    write_rows("c.jsonl", [{"messages": 1}])
    a, b, c = prepare(make_config("a.jsonl", "b.jsonl", "c.jsonl", dedupe=True, pack_size=1024)).metadata.datasets
    assert (a.rows, a.kept, a.sequences, a.dropped) == (2, 2, 3, {})
    assert (b.rows, b.kept, b.sequences, b.dropped) == (1, 0, 0, {"duplicate": 1})
    assert (c.rows, c.kept, c.sequences, c.dropped, c.roles) == (1, 0, 0, {"no_messages": 1}, {})
    assert (a.fill is None, b.fill) == (False, None)


def test_sequences_in_which_nothing_trains_are_counted_of_conversations_that_are_kept() -> None:
    masked = {"a": [0, 2, 4], "b": [1], "c": [8]}
    parts = [("a", 0, slice(0, 3)), ("b", 0, slice(3, 4)), ("c", 1, slice(4, 5))]
    corpus: Any = SimpleNamespace(
        each_part=lambda: [SimpleNamespace(path=path, dataset=of, conversations=its) for path, of, its in parts],
        read_index=lambda part: SimpleNamespace(masked_counts=np.array(masked[part.path])),
    )
    selection: Any = SimpleNamespace(kept=np.array([True, True, False, True, True]))
    assert _count_masked(corpus, selection, 3).tolist() == [3, 8, 0]


def test_notes_of_several_parts_are_added_up_and_the_first_are_located() -> None:
    notes = {
        "a": [NoteCount("language", "de", 2, [0, 1]), NoteCount("language", "fr", 1, [5])],
        "b": [NoteCount("empty_answer", "", 1, [8]), NoteCount("language", "fr", 4, [0, 2, 6])],
        "c": [NoteCount("language", "de", 9, [0, 3, 4]), NoteCount("language", "en", 5, [7])],
    }
    parts = [PartPlace(0, "chat", (file,), [0], lines_before=0) for file in notes]
    receipts: Any = [SimpleNamespace(notes=of_part) for of_part in notes.values()]
    listed = [
        (note.title, note.rows, [(at["file"], at["line"]) for at in note.places]) for note in _notes(parts, receipts)
    ]
    assert listed == [
        ("empty_answer", 1, [("b", 9)]),
        ("language de", 11, [("a", 1), ("a", 2), ("c", 1)]),
        ("language en", 5, [("c", 8)]),
        ("language fr", 5, [("a", 6), ("b", 1), ("b", 3)]),
    ]


def found(rows: int, dropped: dict[str, int], outcomes: Sequence[LeftOut | None]) -> tuple[Any, Any, Any]:
    """A plan, the receipts of its only part, and what became of the conversations of that."""
    plan = SimpleNamespace(
        blend=SimpleNamespace(path="blend.json"), template=SimpleNamespace(name="mine"), run_dir=Path("/run"),
        tokenizer=SimpleNamespace(name="letters"),
    )  # fmt: skip
    codes = np.array([OUTCOMES.index(outcome) for outcome in outcomes], np.int8)
    selection = SimpleNamespace(outcome=codes, kept=codes == OUTCOMES.index(None))
    return plan, [[SimpleNamespace(rows=rows, dropped=dropped)]], selection


def test_a_run_in_which_nothing_trains_says_why() -> None:
    with pytest.raises(UserError, match=r"The datasets of blend\.json are empty: no rows\."):
        ensure_something_trains(*found(0, {}, []))
    with pytest.raises(UserError) as refused:
        ensure_something_trains(*found(4, {"bad_role": 2, "bad_json": 1}, [LeftOut.OVERLONG]))
    assert "all 4 rows of blend.json were dropped (1 x bad_json: " in refused.value.message
    listed = [refused.value.message.index(f"{n} x {reason}: ") for n, reason in ((1, "bad_json"), (2, "bad_role"))]
    assert listed == sorted(listed)
    assert "; 1 x overlong: " in refused.value.message
    assert f"zstdcat /run/{DROPPED_ROWS}." in (refused.value.hint or "")
    assert "chat_template (mine, with the tokenizer letters)" in (refused.value.hint or "")
    ensure_something_trains(*found(4, {"bad_role": 3}, [None]))


def test_a_sequence_that_was_cut_to_nothing_is_not_in_the_output() -> None:
    corpus: Any = SimpleNamespace(conversation=np.array([0, 0, 1, 2]))
    cut: Any = SimpleNamespace(length=np.array([5, 0, 1, 7]))
    selection: Any = SimpleNamespace(copies=np.array([2, 1, 0]))
    assert _count_copies(corpus, cut, selection).tolist() == [2, 0, 1, 0]
