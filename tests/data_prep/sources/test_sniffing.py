"""What a file holds is told from its content: names promise JSONL and people save arrays and pretty-printed objects."""

import codecs
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep.sources import Row, cut, find_files, read_rows, sniffing
from nemotron.data_prep.sources import rows as source_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.sniffing import _kind_of_arrow
from nemotron.errors import UserError

ROWS = [{"n": 1, "text": "ein\nzwei"}, {"n": 2, "inner": [{"a": {}}]}, {"n": 3}]
PRETTY = "\n".join(json.dumps(row, indent=2) for row in ROWS)
LINES = "\n".join(map(json.dumps, ROWS))


def read(tmp_path: Path, content: str | bytes, name: str = "rows.jsonl") -> list[Row]:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    [file] = find_files(Dataset("test", str(tmp_path / name)))
    return [row for part in cut(file) for row in read_rows(part) if not row.is_blank]


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        PRETTY,
        "\ufeff" + PRETTY.replace("\n", "\r\n"),
        "\n\n".join(json.dumps(row, indent=0) for row in ROWS),
        "".join(json.dumps(row, indent=1) for row in ROWS),
        ",\n".join(json.dumps(row, indent=4) for row in ROWS),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2) + "\n",
        "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.ndjson", "rows.jsonl.gz"])
def test_rows_are_read_however_they_are_laid_out(tmp_path: Path, content: str, name: str) -> None:
    packed = gzip.compress(content.encode()) if name.endswith("gz") else content
    rows = read(tmp_path, packed, name)
    assert [row.value for row in rows] == ROWS
    assert [row.line for row in rows] == [0, 1, 2]


def test_a_pretty_printed_file_is_one_part_whatever_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rows, "PART_BYTES", 10)
    monkeypatch.setattr(sniffing, "HEAD_BYTES", 20)
    assert [row.value for row in read(tmp_path, PRETTY)] == ROWS


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ('{"n": 1\n{"n": 2}\n', [None, {"n": 2}]),
        ('{"n":\n{"n": 2}\n', [None, {"n": 2}]),
        ('{"n": "a\n{"n": 2}\n', [None, {"n": 2}]),
        ('[{"n": 1}]\n[{"n": 2}]\n', [[{"n": 1}], [{"n": 2}]]),
        ("[[[[\n{}\n", [None, {}]),
        ('{"n": 1} {"n": 2}\n{"n": 3}\n', [None, {"n": 3}]),
    ],
)
def test_a_row_per_line_stays_so_even_if_the_first_is_broken(tmp_path: Path, content: str, values: list[Any]) -> None:
    assert [row.value for row in read(tmp_path, content)] == values


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_that_is_not_utf_8_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(UserError, match=encoding[:6].upper()) as error:
        read(tmp_path, LINES.encode(encoding))
    assert "iconv" in error.value.hint


def test_a_broken_object_of_several_lines_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl:9"):
        read(tmp_path, '{\n  "n": 1\n}\n{\n  "n": 2\n}\n{\n  "n": \n}\n')


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"ARROW1\0\0", "arrow"),
        (b"\xff\xff\xff\xff\x10", "arrow_stream"),
        (b"\x10\x20\0\0", "arrow_stream"),
        (b"FEA1....", "an outdated Feather file"),
        (b"PAR1....", "not an Arrow file"),
    ],
)
def test_arrow_files_are_told_from_streams_and_from_what_is_neither(head: bytes, kind: str) -> None:
    if kind.startswith("arrow"):
        assert _kind_of_arrow(head, "a.arrow") == kind
    else:
        with pytest.raises(UserError, match=f"^a.arrow is {kind}"):
            _kind_of_arrow(head, "a.arrow")


def test_an_object_nested_too_deeply_for_python_is_a_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text('{"a":\n' * 20_000)
    [file] = find_files(Dataset("test", str(path)))
    assert file.format == "jsonl"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (codecs.BOM_UTF32_LE + "{}".encode("utf-32-le"), "UTF-32"),
        (codecs.BOM_UTF32_BE + "{}".encode("utf-32-be"), "UTF-32"),
        (codecs.BOM_UTF16_LE + "{}".encode("utf-16-le"), "UTF-16"),
        (codecs.BOM_UTF16_BE + "{}".encode("utf-16-be"), "UTF-16"),
        *((text.encode(f"utf-16-{order}"), "UTF-16") for text in ("{}", "[]") for order in ("le", "be")),
    ],
)
def test_another_encoding_is_named_with_how_to_convert_it(tmp_path: Path, content: bytes, encoding: str) -> None:
    for name, converted in (("a.json", "rows.jsonl"), ("a.csv", "rows.csv"), ("a.tsv", "rows.tsv")):
        with pytest.raises(UserError, match=rf"{name} is {encoding}, ") as error:
            read(tmp_path, content, name)
        assert error.value.hint == f"Convert it: iconv -f {encoding} -t UTF-8 {tmp_path / name} > {converted}"
