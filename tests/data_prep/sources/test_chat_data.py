"""A path is chat data, or a blend that lists some."""

import json
from pathlib import Path

import pytest

from nemotron.data_prep.sources.chat_data import is_blend_file, is_chat_data
from nemotron.errors import UserError

ROW = {"messages": []}


@pytest.mark.parametrize(
    ("content", "is_blend"),
    [
        ([{"path": "a"}], True),
        ([{"path": "a"}, {"messages": []}], False),
        ([{"path": "a"}, "b"], False),
        ([], True),
        ({"datasets": [{"path": "a"}]}, True),
        ({"train": [{"path": "a"}]}, True),
        ({"train": True, "messages": []}, False),
        ({"mixture": [{"path": "a"}]}, True),
        ({"_note": "x", "datasets": []}, True),
        (ROW, False),
        ({**ROW, "tools": []}, False),
        ({"question_text": "Hi"}, False),
    ],
)
def test_a_json_file_is_a_blend_unless_it_has_rows(tmp_path: Path, content: object, is_blend: bool) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    assert is_chat_data(path) is not is_blend


def test_a_json_file_may_have_an_object_per_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"question_text": "Hi"}) + "\n" + json.dumps({"question_text": "Why?"}) + "\n")
    assert is_chat_data(path)


def test_a_folder_is_data_if_a_file_in_it_is(tmp_path: Path) -> None:
    assert not is_chat_data(tmp_path)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.jsonl").mkdir()
    assert not is_chat_data(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW))
    assert is_chat_data(tmp_path)
    (tmp_path / "b.json").write_text(json.dumps(ROW))
    assert is_chat_data(tmp_path)
    (tmp_path / "blend.json").write_text(json.dumps({"datasets": [{"path": "a.jsonl"}]}))
    with pytest.raises(UserError, match=r"blend\.json"):
        is_chat_data(tmp_path)
    for name in ("a.jsonl", "b.json"):
        (tmp_path / name).unlink()
    assert not is_chat_data(tmp_path)


def test_other_files_and_what_is_not_there_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.jsonl").touch()
    assert [is_chat_data(tmp_path / name) for name in ("a.txt", "a.jsonl", "*.jsonl", "*.csv")] == [
        False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "is_blend"),
    [
        ('\ufeff{"datasets": []}', True),
        ('\ufeff\n [{"path": "a"}]', True),
        ('{\n  "datasets": [{"path": "a"}]\n}', True),
        ('{\n  "messages": []\n}', False),
        ('{\n  "train": [{"path": "a"}],\n  "messages": "of our users"\n}', True),
        ('{"messages": []}\n{"datasets": []}\n', False),
        ('{"_note": 5, "mixture": [{"path": "a"}], "_more": "x"}', True),
        ('{"_rows": [{"path": "a"}], "text": "x"}', False),
    ],
)
def test_a_json_file_is_known_by_its_beginning(tmp_path: Path, content: str, is_blend: bool) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    assert is_blend_file(path) is is_blend


def test_a_dataset_of_several_splits_is_data_without_a_file_beside_it(tmp_path: Path) -> None:
    for content in ('{"splits": ["train"]}', ""):  # what is wrong with it is said when it is read
        (tmp_path / "dataset_dict.json").write_text(content)
        assert is_chat_data(tmp_path)
