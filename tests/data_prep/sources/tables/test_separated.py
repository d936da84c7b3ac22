"""CSV and TSV: cells as values, rows by their numbers, and what goes wrong with such files."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.sources import Row, cut, find_files, read_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.tables import separated
from nemotron.data_prep.sources.tables.separated import TEXT_COLUMNS
from nemotron.errors import UserError

MESSAGES = [{"role": "user", "content": 'Say "hi",\nplease.'}, {"role": "assistant", "content": "hi"}]


def rows_of(path: Path) -> list[Row]:
    [file] = find_files(Dataset("test", str(path)))
    return [row for part in cut(file) for row in read_rows(part) if not row.is_blank]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_rows(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_cell_with_json_is_the_list_that_the_field_needs(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    row = {"messages": json.dumps(MESSAGES), "tools": json.dumps(tools), "used_in": '["sft"]', "train": "True"}
    path = write_rows(tmp_path / "chat.csv", [row])
    assert rows_of(path)[0].value == {"messages": MESSAGES, "tools": tools, "used_in": ["sft"], "train": True}


def test_an_answer_that_looks_like_json_is_text(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "pairs.csv", [{"prompt": "[1, 2]", "completion": '{"x": 1}'}])
    assert rows_of(path)[0].value == {"prompt": "[1, 2]", "completion": '{"x": 1}'}


def test_a_prompt_of_messages_is_messages(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "pairs.csv", [{"prompt": json.dumps(MESSAGES[:1]), "completion": "hi"}])
    assert rows_of(path)[0].value["prompt"] == MESSAGES[:1]
    mixed = json.dumps([*MESSAGES[:1], "and then?"])
    path = write_rows(tmp_path / "pairs.csv", [{"prompt": mixed, "completion": "hi"}])
    assert rows_of(path)[0].value["prompt"] == mixed


def test_every_name_of_a_text_is_known() -> None:
    """`sources` stands before `dialects` and cannot ask it."""
    texts = {*names.PROMPTS, *names.ANSWERS, *names.ADDED_INPUTS, *names.SYSTEM, *names.REASONING}
    assert texts - {"reasoning_details", "thinking_blocks"} <= TEXT_COLUMNS


@pytest.mark.parametrize("number", [123456789012345678901234567890, 2**64 + 1, -(2**63) - 1])
def test_integers_beyond_64_bits_keep_their_digits(tmp_path: Path, number: int) -> None:
    path = write_rows(tmp_path / "chat.csv", [{"metadata": f'{{"id": {number}}}'}])
    assert rows_of(path)[0].value == {"metadata": {"id": number}}


def test_rows_are_numbered_as_in_a_spreadsheet(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", 'prompt,completion\n"two\nlines",a\n\nc,d\n')
    assert [(row.line + 1, row.value["completion"]) for row in rows_of(path)] == [(2, "a"), (4, "d")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mark.csv", "\ufeffid,prompt\n7,ä\n"),
        ("windows.csv", "id,prompt\r\n7,ä\r\n"),
        ("old_mac.csv", "id,prompt\r7,ä"),
        ("tabs.tsv", "id\tprompt\n7\tä\n"),
        ("TABS.TSV", "id\tprompt\n7\tä\n"),
        ("packed.csv.gz", gzip.compress("id,prompt\n7,ä\n".encode(), mtime=0)),
        ("packed.csv.zst", zstandard.compress("id,prompt\n7,ä\n".encode())),
        ("pandas.csv", ",id,prompt\n0,7,ä\n"),
    ],
)
def test_every_kind_of_csv_gives_the_same_row(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert [row.value for row in rows_of(write(tmp_path / name, content))] == [{"id": 7, "prompt": "ä"}]


@pytest.mark.parametrize("content", ["", "\ufeff", "prompt,completion\n", "prompt,completion"])
def test_a_file_without_rows_has_none(tmp_path: Path, content: str) -> None:
    assert rows_of(write(tmp_path / "rows.csv", content)) == []


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"a,b,c", "3 cells"),
        (b"a", "1 cells"),
        (b'say "hi",b', None),
        (b'"say "hi"",b', "twice"),
        (b"a,M\xfcller", '"completion" is not UTF-8'),
    ],
)
def test_a_wrong_row_costs_only_itself(tmp_path: Path, line: bytes, named: str | None) -> None:
    rows = rows_of(write(tmp_path / "rows.csv", b"prompt,completion\na,b\n" + line + b"\nc,d\n"))
    assert [rows[0].value["prompt"], rows[-1].value["prompt"]] == ["a", "c"]
    assert [row.line for row in rows] == [1, 2, 3]
    assert (rows[1].error is None) if named is None else named in str(rows[1].error)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('prompt,completion\na,b\n"c,d\ne,f\n', "rows.csv:3"),
        ("prompt,prompt\na,b\n", '"prompt"'),
        ("prompt;completion\na;b\n", "';'"),
        ("prompt|completion\na|b\n", "'|'"),
        ("prompt\tcompletion\na\tb\n", "tabs"),
        ("prompt,completion\na,b\n".encode("utf-16"), "UTF-16"),
        ("prompt,completion\na,b\n".encode("utf-16-le"), "UTF-16"),
    ],
)
def test_a_file_whose_rows_nobody_can_tell_apart_is_refused(tmp_path: Path, content: str | bytes, named: str) -> None:
    with pytest.raises(UserError) as error:
        rows_of(write(tmp_path / "rows.csv", content))
    assert named in error.value.message
    assert error.value.hint


def test_a_compressed_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"prompt,completion\n" + b"a,b\n" * 1000)
    with pytest.raises(UserError, match=r"rows\.csv\.gz"):
        rows_of(write(tmp_path / "rows.csv.gz", packed[: len(packed) // 2]))


def test_broken_json_in_a_cell_is_named_where_it_is_needed(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "chat.csv", [{"messages": '[{"role": "user"'}])
    with pytest.raises(Exception, match=r'"messages" is text, and its messages are broken JSON'):
        parse_row(rows_of(path)[0].value)


def test_a_line_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separated, "LONGEST_CELL", 50)
    before = csv.field_size_limit()
    try:
        with pytest.raises(UserError, match="Line 3 "):
            rows_of(write(tmp_path / "rows.csv", "prompt,completion\na,b\n" + "c" * 51))
        assert len(rows_of(write(tmp_path / "rows.csv", "prompt,completion\n" + "a" * 48 + ",b"))) == 1
    finally:
        csv.field_size_limit(before)  # it is the process's


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", None),
        ("True", True),
        (" false ", False),
        ("007x", "007x"),
        ("-12", -12),
        ('[1, {"a": null}]', [1, {"a": None}]),
        (' {"a": 123456789012345678901}', {"a": 123456789012345678901}),
        ("{not json", "{not json"),
        ('"quoted"', '"quoted"'),
    ],
)
def test_a_cell_is_the_value_that_it_looks_like(cell: str, value: object) -> None:
    assert separated._read("score", cell) == value


@pytest.mark.parametrize(
    ("cell", "are_messages"),
    [
        ('[{"role": "user", "content": "Hi"}]', True),
        ('[{"from": "human", "value": "Hi"}]', True),
        ('[{"text": "Hi"}]', False),
        ('["role", {"role": "user"}]', False),
        ('{"role": "user"}', False),
        ("12", False),
        ("true", False),
    ],
)
def test_a_cell_of_text_is_text_unless_it_has_messages(cell: str, are_messages: bool) -> None:
    assert separated._read("prompt", cell) == (json.loads(cell) if are_messages else cell)


def test_the_header_and_empty_lines_are_blank_lines(tmp_path: Path) -> None:
    [file] = find_files(Dataset("test", str(write(tmp_path / "a.csv", "n\n\n1\n"))))
    rows = [row for part in cut(file) for row in read_rows(part)]
    assert [(row.line, row.is_blank, row.value) for row in rows] == [
        (0, True, None),
        (1, True, None),
        (2, False, {"n": 1}),
    ]
