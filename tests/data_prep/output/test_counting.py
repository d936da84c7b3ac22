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
from nemotron.data_prep.output.counting import _count_copies, ensure_something_trains
from nemotron.data_prep.output.dropped_rows import DROPPED_ROWS
from nemotron.data_prep.output.metadata import NoteStats
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


def test_a_dataset_has_its_share_of_the_split_that_it_is_listed_for(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable
) -> None:
    for name, count in (("a", 6), ("b", 2), ("c", 5)):
        write_rows(f"{name}.jsonl", [chat(f"{name} {n}", "Answer") for n in range(count)])
    paths = {"train": ["a", "b"], "valid": ["c"]}
    blend = {split: [{"path": f"{name}.jsonl"} for name in names] for split, names in paths.items()}
    datasets = prepare(make_config(blend=blend)).metadata.datasets
    assert [dataset.got for dataset in datasets] == [0.75, 0.25, 1.0]


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
