"""Where files are cut into parts, which only their size decides."""

import io
from pathlib import Path

import pytest

from nemotron.data_prep.sources import InputFile, cut, find_files, local, read_rows
from nemotron.data_prep.sources import rows as source_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.input_file import FileFormat

MIB = 2**20


def spans(size: int, format: FileFormat = "jsonl", compression: str | None = None) -> list[tuple[int, int] | None]:
    file = InputFile("rows.jsonl", size, "digest", "version", format, compression)
    parts = cut(file)
    assert [part.index for part in parts] == list(range(len(parts)))
    assert sum(part.bytes for part in parts) == size
    return [part.span for part in parts]


@pytest.mark.parametrize(
    ("mebibytes", "parts", "of"),
    [
        (4, 1, 4),  # no part is smaller, but the last
        (5, 2, 4),
        (128, 32, 4),
        (256, 32, 8),  # 32 parts, so that workers finish together
        (512, 32, 16),
        (1024, 64, 16),  # and none is larger
    ],
)
def test_lines_are_cut_into_parts_of_4_to_16_mebibytes(mebibytes: int, parts: int, of: int) -> None:
    found = spans(mebibytes * MIB)
    assert len(found) == parts
    assert found[0] == (0, min(of, mebibytes) * MIB)
    assert found[-1] == ((parts - 1) * of * MIB, mebibytes * MIB)


def test_a_byte_more_than_a_part_is_another_part() -> None:
    assert spans(4 * MIB + 1) == [(0, 4 * MIB), (4 * MIB, 4 * MIB + 1)]
    assert spans(0) == [(0, 0)]


@pytest.mark.parametrize(("format", "compression"), [("jsonl", ".gz"), ("json_array", None), ("csv", None)])
def test_what_has_no_lines_to_find_is_one_part(format: FileFormat, compression: str | None) -> None:
    assert spans(1024 * MIB, format, compression) == [None]


def test_a_line_one_byte_too_long_is_not_cut_to_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part has 100 of its 101 digits, which would be another number."""
    for constant in ("LONGEST_LINE", "PART_BYTES"):
        monkeypatch.setattr(source_rows, constant, 100)
    (tmp_path / "rows.jsonl").write_bytes(b"1" * 101)
    [file] = find_files(Dataset("test", str(tmp_path / "rows.jsonl")))
    rows = [row for part in cut(file) for row in read_rows(part)]
    assert [(row.value, row.error) for row in rows] == [(None, "the line is longer than 100 bytes")]


def test_samples_of_a_large_file_reach_from_its_first_byte_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "WHOLE_DIGEST_BYTES", 100)
    monkeypatch.setattr(local, "SAMPLE_BYTES", 10)
    (tmp_path / "rows.jsonl").write_bytes(b'{"n": 1}\n' * 40)  # 360 bytes
    places: list[int] = []

    class Watched(io.FileIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            places.append(offset)
            return super().seek(offset, whence)

    monkeypatch.setattr(local, "open_file", lambda path: Watched(path, "rb"))
    find_files(Dataset("test", str(tmp_path / "rows.jsonl")))
    assert places == [350 * number // 15 for number in range(16)]
