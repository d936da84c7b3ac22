"""Inputs: every kind of file gives the same rows, however it is cut; what cannot be read is said."""

import gzip
import hashlib
import io
import json
import os
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError, Unreadable
from nemotron.data_prep.sources import InputFile, Row, cut, find_files, local, read_rows
from nemotron.data_prep.sources import rows as source_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.opening import read_range
from nemotron.errors import UserError

VALUES = [{"n": 1}, {"n": 2, "text": "zwei\u2028Zeilen"}, {"n": 3}]
JSONL = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in VALUES).encode()


def rows_of(path: Path, **dataset: Any) -> list[Row]:
    found = find_files(Dataset("test", str(path), **dataset))
    return [row for file in found for part in cut(file) for row in read_rows(part)]


def values_of(path: Path, **dataset: Any) -> list[Any]:
    return [row.value for row in rows_of(path, **dataset) if not row.is_blank]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.jsonl", JSONL),
        ("no_last_newline.ndjson", JSONL[:-1]),
        ("windows.jsonl", b"\xef\xbb\xbf" + JSONL.replace(b"\n", b"\r\n")),
        ("lines.json", JSONL),
        ("array.json", json.dumps(VALUES, indent=2).encode()),
        ("packed.jsonl.gz", gzip.compress(JSONL, mtime=0)),
        ("packed.jsonl.zst", zstandard.compress(JSONL)),
        ("frames.jsonl.zst", zstandard.compress(JSONL[:20]) + zstandard.compress(JSONL[20:])),
        ("array.json.gz", gzip.compress(json.dumps(VALUES).encode(), mtime=0)),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert values_of(tmp_path / name) == VALUES


def test_a_row_that_is_no_json_says_at_which_of_its_characters(tmp_path: Path) -> None:
    """The line of the file is said beside it, so a line of the row, which is always 1, would mislead."""
    (tmp_path / "chat.jsonl").write_text('{"n": 1}\n{"n": 2,}\n')
    whole, broken = rows_of(tmp_path / "chat.jsonl")
    assert whole.error is None
    assert str(broken.error).endswith(", at character 8")


def test_parquet_rows_lose_the_fill_of_other_rows(tmp_path: Path) -> None:
    values = [{"tools": {"a": {"x": 1}}}, {"tools": {"b": {"y": 2}}}, {"tools": {"content": None}}]
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "rows.parquet", row_group_size=2)
    assert [list(value["tools"]) for value in values_of(tmp_path / "rows.parquet")] == [
        ["a", "content"], ["b", "content"], ["content"],
    ]  # fmt: skip


BIG = {"arguments": {"id": 123456789012345678901234567890, "small": 1.5}}


def test_a_line_can_be_decoded_again_without_rounding(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(BIG) + "\n")
    [row] = rows_of(tmp_path / "rows.jsonl")
    assert row.value != BIG
    assert row.exact() == BIG


def test_an_array_is_decoded_without_rounding(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([BIG]))
    [row] = rows_of(tmp_path / "rows.json")
    assert row.exact() == BIG


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"n": 1}\n{"n": \n\n{"n": 3}\n')
    rows = rows_of(tmp_path / "rows.jsonl")
    assert [(row.line, row.value, row.error is not None, row.is_blank) for row in rows] == [
        (0, {"n": 1}, False, False),
        (1, None, True, False),
        (2, None, False, True),
        (3, {"n": 3}, False, False),
    ]


@settings(max_examples=60)
@given(lines=st.lists(st.text("ab€ ", max_size=12), max_size=12), part_bytes=st.integers(1, 40), ends=st.booleans())
def test_a_file_gives_the_same_lines_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], part_bytes: int, ends: bool
) -> None:
    path = tmp_path_factory.mktemp("cut") / "rows.jsonl"
    path.write_bytes("\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode() + b"\n" * ends)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_rows, "PART_BYTES", part_bytes)
        parts = cut(find_files(Dataset("test", str(path)))[0])
    rows = [row for part in parts for row in read_rows(part)]
    assert [row.value for row in rows if not row.is_blank] == lines
    assert [part.index for part in parts] == list(range(len(parts)))
    assert sum(part.bytes for part in parts) == path.stat().st_size


def test_a_folder_is_read_in_order_and_recursively_on_request(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for number, name in enumerate(["b.jsonl", "a.jsonl", "deeper/c.jsonl", "README.md"]):
        (tmp_path / name).write_text(json.dumps(number))
    assert values_of(tmp_path) == [1, 0]
    assert values_of(tmp_path, recursive=True) == [1, 0, 2]
    assert values_of(tmp_path / "*.jsonl") == [1, 0]
    assert values_of(tmp_path / "**" / "*.jsonl") == [1, 0, 2]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z.jsonl").write_text("3")
    assert values_of(tmp_path, recursive=True) == [3, 1, 0, 2]  # folder by folder, although "." comes before "/"


def test_the_digest_follows_the_content_not_the_path(tmp_path: Path) -> None:
    for name, content in [("a.jsonl", JSONL), ("b.jsonl", JSONL), ("c.jsonl", JSONL[:-2])]:
        (tmp_path / name).write_bytes(content)
    a, b, c = (file.digest for file in find_files(Dataset("test", str(tmp_path))))
    assert a == b != c


def test_the_digest_of_a_file_of_the_limit_is_of_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"messages": []}'
    (tmp_path / "a.jsonl").write_bytes(content)
    whole = hashlib.blake2b(content, digest_size=16).hexdigest()
    monkeypatch.setattr(local, "SAMPLE_BYTES", 4)
    for most, is_whole in ((len(content), True), (len(content) - 1, False)):
        monkeypatch.setattr(local, "WHOLE_DIGEST_BYTES", most)
        [file] = find_files(Dataset("test", str(tmp_path / "a.jsonl")))
        assert (file.digest == whole) is is_whole


def test_a_glob_of_many_folders_in_a_row_is_one_of_any(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/chat.jsonl").write_bytes(JSONL)
    for number in range(30):
        (tmp_path / f"a/{number}/c/d").mkdir(parents=True)
    assert [file.path for file in find_files(Dataset("test", f"{tmp_path}/{'**/' * 40}*.jsonl"))] == [
        str(tmp_path / "a/b/chat.jsonl")
    ]


def test_a_name_that_is_not_utf8_is_refused_before_it_is_recorded(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jsonl"
    with open(path, "wb") as file:
        file.write(JSONL)
    for place in (os.fsdecode(path), str(tmp_path)):
        with pytest.raises(UserError, match="not UTF-8"):
            find_files(Dataset("test", place))


def test_a_missing_file_suggests_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl").write_bytes(JSONL)
    with pytest.raises(UserError, match=r"chta\.jsonl") as error:
        find_files(Dataset("test", str(tmp_path / "chta.jsonl")))
    assert error.value.hint == f'Did you mean "{tmp_path / "chat.jsonl"}"?'


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of which only samples are digested."""
    monkeypatch.setattr(local, "WHOLE_DIGEST_BYTES", 100)
    monkeypatch.setattr(local, "SAMPLE_BYTES", 10)
    (tmp_path / "large.jsonl").write_bytes(b'{"n": 1}\n' * 1000)
    return tmp_path / "large.jsonl"


def digest(path: Path) -> str:
    return find_files(Dataset("test", str(path)))[0].digest


def test_a_large_file_is_not_read_twice(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    class Counting(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal read
            content = super().read(-1 if size is None else size)
            read += len(content)
            return content

    monkeypatch.setattr(local, "open_file", lambda path: Counting(path, "rb"))
    assert digest(large) == digest(large)
    assert read == 2 * local.SAMPLES * 10


def test_a_change_between_the_samples_is_seen_even_with_the_old_times(large: Path) -> None:
    before, times = digest(large), large.stat()
    with open(large, "r+b") as file:
        file.seek(15)  # between the first sample and the second
        file.write(b"2")
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert large.stat().st_size == times.st_size
    assert digest(large) != before


def test_a_file_that_changes_during_the_run_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(JSONL)
    [file] = find_files(Dataset("test", str(path)))
    path.write_bytes(JSONL.replace(b"1", b"4"))
    with pytest.raises(UserError, match=r"rows\.jsonl.*changed"):
        list(read_rows(cut(file)[0]))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        find_files(Dataset("test", str(tmp_path)))


def test_a_file_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_text("a,b")
    with pytest.raises(UserError, match=r"rows\.xlsx") as error:
        find_files(Dataset("test", str(tmp_path / "rows.xlsx")))
    assert {".csv", ".arrow"} <= {word.strip("*,;") for word in str(error.value.hint).split()}


def test_a_path_with_a_password_is_refused_for_it_is_recorded() -> None:
    with pytest.raises(UserError, match=r"contains credentials") as error:
        find_files(Dataset("d", "s3://KEY:gulf-stream@bucket/a.jsonl"))
    assert "AWS_SECRET_ACCESS_KEY" in (error.value.hint or "")


def test_a_link_to_nothing_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "gone.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, kind in (("link.jsonl", "a broken link"), ("pipe.jsonl", "not a regular file")):
        with pytest.raises(UserError, match=f"{name} is {kind}"):
            find_files(Dataset("d", str(tmp_path / name)))


def test_a_path_at_an_unknown_place_is_refused() -> None:
    for path, meant in (("s4://bucket/x", "s3://"), ("gs2://bucket/x", "gs://"), ("hv://org/x", "hf://")):
        with pytest.raises(UserError, match=path) as error:
            find_files(Dataset("test", path))
        assert error.value.hint == f'Did you mean "{meant}"?'


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst", "rows.parquet", "rows.json"])
def test_a_file_that_ends_too_early_is_not_taken_for_a_short_one(tmp_path: Path, name: str) -> None:
    values = [{"n": number, "noise": number * 2654435761 % 2**32} for number in range(3000)]
    lines = "\n".join(json.dumps(value) for value in values).encode()
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(values), path)
    else:
        contents = {
            ".gz": gzip.compress(lines),
            ".zst": zstandard.compress(lines),
            ".json": json.dumps(values).encode(),
        }
        path.write_bytes(contents[path.suffix])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=name):
        rows_of(path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 40 + os.urandom(1000)))
    packed[20:60] = b"\xff" * 40
    (tmp_path / "rows.jsonl.gz").write_bytes(packed)
    with pytest.raises(UserError, match=r"rows\.jsonl\.gz: Error -3"):
        rows_of(tmp_path / "rows.jsonl.gz")


@pytest.mark.parametrize("part_bytes", [10, 10_000])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst"])
def test_a_line_without_end_costs_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part_bytes: int
) -> None:
    """A few compressed megabytes may hold a line of gigabytes."""
    for constant, value in {"LONGEST_LINE": 100, "LEAST_PART_BYTES": part_bytes, "LINE_REST_BYTES": 30}.items():
        monkeypatch.setattr(source_rows, constant, value)
    lines = [b'{"n": 0}', b'{"n": "' + b"1" * 91 + b'"}', b'{"n": "' + b"2" * 92 + b'"}', b"3" * 950, b'{"n": 4}']
    assert [len(line) for line in lines[1:3]] == [100, 101]
    content = b"\n".join(lines)
    pack = {"jsonl": bytes, "gz": gzip.compress, "zst": zstandard.compress}[name.rpartition(".")[2]]
    (tmp_path / name).write_bytes(pack(content))
    rows = rows_of(tmp_path / name)
    assert [row.value["n"] for row in rows if row.value] == [0, "1" * 91, 4]
    assert [row.error for row in rows if row.error] == ["the line is longer than 100 bytes"] * 2


def test_of_a_line_without_end_no_more_is_read_than_shows_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of one gigabyte without a newline must not be in memory as a whole, once for every part."""
    for constant, value in {"LONGEST_LINE": 100, "PART_BYTES": 50, "LINE_REST_BYTES": 30}.items():
        monkeypatch.setattr(source_rows, constant, value)
    (tmp_path / "rows.jsonl").write_bytes(b"1" * 10_000)
    [file] = find_files(Dataset("test", str(tmp_path / "rows.jsonl")))
    read: list[int] = []

    def counting(file: InputFile, start: int, end: int) -> bytes:
        read.append(end - start)
        return read_range(file, start, end)

    monkeypatch.setattr(source_rows, "read_range", counting)
    first, *_ = cut(file)
    assert [row.error for row in read_rows(first)] == ["the line is longer than 100 bytes"]
    assert sum(read) <= 100 + 50 + 30


def test_an_input_whose_pages_have_checksums_is_verified(tmp_path: Path) -> None:
    """A letter that flips on a disk is another text; whoever wrote checksums wants to hear of it."""
    path = tmp_path / "rows.parquet"
    table = pa.Table.from_pylist([{"messages": [{"role": "assistant", "content": "It is nine."}]}])
    pq.write_table(
        table, path, compression="none", use_dictionary=False, write_page_checksum=True, write_statistics=False
    )
    assert len(rows_of(path)) == 1
    path.write_bytes(path.read_bytes().replace(b"It is nine.", b"It is fine."))
    with pytest.raises(UserError, match=str(path)):
        rows_of(path)


QUESTION, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def test_what_only_parquet_can_hold_becomes_json(tmp_path: Path) -> None:
    held = {"days": [date(2024, 1, 2)], "at": time(3, 4), "price": Decimal("1.50"), "count": Decimal(3), "name": b"x"}
    pq.write_table(pa.table({"messages": [[ANSWER]], "held": [held]}), tmp_path / "rows.parquet")
    [row] = rows_of(tmp_path / "rows.parquet")
    assert row.value["held"] == {"days": ["2024-01-02"], "at": "03:04:00", "price": 1.5, "count": 3, "name": "x"}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string()),
        pa.array([0, 2**30], pa.date32()),
        pa.array([0, 2**62], pa.timestamp("us")),
        pa.array([0, 1], pa.timestamp("ns", "Mars/Olympus")),
    ],
)
def test_an_unreadable_value_costs_nothing_where_nobody_reads_it(tmp_path: Path, column: pa.Array) -> None:
    table = pa.table({"messages": [[QUESTION, ANSWER]] * 2, "unread": column})
    pq.write_table(table, tmp_path / "rows.parquet")
    rows = rows_of(tmp_path / "rows.parquet")
    assert [len(parse_row(row.value).messages) for row in rows] == [2, 2]
    assert isinstance(rows[1].value["unread"], Unreadable)


@pytest.mark.parametrize("value", [timedelta(1), b"\xff", float("inf")])
def test_an_argument_that_json_has_no_form_for_costs_its_row(tmp_path: Path, value: object) -> None:
    calling = ANSWER | {"tool_calls": [{"name": "f", "arguments": {"x": value}}]}
    pq.write_table(pa.table({"messages": [[QUESTION, calling]]}), tmp_path / "rows.parquet")
    [row] = rows_of(tmp_path / "rows.parquet")
    with pytest.raises(RowError, match="bad_tool_arguments"):
        parse_row(row.value)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_the_bytes_of_parts_add_up_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Otherwise progress would end at 30 or at 300 %."""
    monkeypatch.setattr(source_rows, "LEAST_PART_BYTES", 1)
    path, table = tmp_path / f"rows.{suffix}", pa.table({"n": range(700)})
    if suffix == "parquet":
        pq.write_table(table, path, row_group_size=100)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table, 100)
    parts = cut(find_files(Dataset("test", str(path)))[0])
    assert len(parts) == 7
    assert sum(part.bytes for part in parts) == path.stat().st_size
    assert max(part.bytes for part in parts) - min(part.bytes for part in parts) <= 1


def test_a_value_that_is_no_text_is_exact_already() -> None:
    """As of Parquet, whose rows are not lines."""
    assert Row(0, BIG).exact() is BIG
