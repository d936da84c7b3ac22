"""The quick look at a blend: every dataset is found, and its first row can be trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep import blend_check
from nemotron.data_prep.blend_check import DatasetCheck, check_datasets
from nemotron.data_prep.dialects.admission import Admission, Fields
from nemotron.data_prep.sources.blend import Blend, Dataset

CHAT = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}


def check(path: Path, rows: list[Any] | None, used_in: str | None = None) -> DatasetCheck:
    if rows is not None:
        path.write_text("".join((json.dumps(row) if row else "") + "\n" for row in rows))
    admission = Admission(Fields("messages", "tools", "auto"), "used_in", used_in)
    [result] = check_datasets(Blend("", (Dataset("mine", str(path)),)), lambda dataset: admission)
    assert (result.name, result.path) == ("mine", str(path))
    return result


def test_of_a_good_dataset_the_roles_of_its_first_row_are_told(tmp_path: Path) -> None:
    result = check(tmp_path / "a.jsonl", [None, CHAT, {"messages": 1}])  # only the first row is read, and no blank line
    assert (result.files, result.bytes) == (1, (tmp_path / "a.jsonl").stat().st_size)
    assert (result.problem, result.hint, result.first_row) == (None, None, "user assistant")


@pytest.mark.parametrize(
    ("rows", "files", "problem"),
    [
        (None, 0, "does not exist"),
        ([None], 1, "has no rows"),
        ([None, {"messages": 1}, CHAT], 1, "a.jsonl:2 cannot be trained on: no_messages"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_its_result(
    tmp_path: Path, rows: list[Any] | None, files: int, problem: str
) -> None:
    result = check(tmp_path / "a.jsonl", rows)
    assert (result.files, result.first_row) == (files, None)
    assert problem in (result.problem or "")
    assert result.hint


def test_the_first_row_is_one_that_the_filter_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend_check, "FILTERED_ROWS", 3)
    others = [{**CHAT, "used_in": ["super_v3"]}] * 2
    assert check(tmp_path / "a.jsonl", [*others, {**CHAT, "used_in": ["nano_v3"]}], "nano_v3").problem is None
    result = check(tmp_path / "b.jsonl", [*others, *others], "nano_v3")
    assert result.problem == "None of its first 3 rows names nano_v3 in used_in."
