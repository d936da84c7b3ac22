"""Bytes of a file, wherever it is: ranges of them, its beginning, or a file of Python's."""

import gzip
import io
from pathlib import Path

import pytest

from nemotron.data_prep.sources import opening
from nemotron.data_prep.sources.input_file import InputFile

CONTENT = bytes(range(100))


def file_of(path: str, size: int = len(CONTENT), compression: str | None = None) -> InputFile:
    return InputFile(path, size, "digest", "version", "jsonl", compression)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges that are asked of a store."""
    asked: list[tuple[int, int]] = []

    def read(path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return CONTENT[start:end]

    for store in (opening.object_store, opening.hub):
        monkeypatch.setattr(store, "read_range", read)
    return asked


@pytest.mark.parametrize(
    ("start", "end", "asked"), [(2, 5, [(2, 5)]), (90, 200, [(90, 100)]), (5, 5, []), (100, 200, []), (7, 3, [])]
)
def test_nothing_is_asked_for_beyond_the_end(remote: list, start: int, end: int, asked: list) -> None:
    for path in ("s3://bucket/x", "gs://bucket/x", "hf://datasets/org/name@c/x"):
        remote.clear()
        assert opening.read_range(file_of(path), start, end) == CONTENT[start:end]
        assert remote == asked


def test_fewer_bytes_than_there_should_be_are_an_error(remote: list) -> None:
    with pytest.raises(OSError, match="expected 60 bytes from byte 50 on, but got 50"):
        opening.read_range(file_of("s3://bucket/x", size=110), 50, 110)


def test_the_beginning_of_a_file_is_read_without_its_compression(tmp_path: Path, remote: list) -> None:
    packed = gzip.compress(CONTENT)
    (tmp_path / "x.gz").write_bytes(packed)
    assert opening.read_head(file_of(str(tmp_path / "x.gz"), len(packed), ".gz"), 10) == CONTENT[:10]
    (tmp_path / "x").write_bytes(CONTENT)
    assert opening.read_head(file_of(str(tmp_path / "x")), 10) == CONTENT[:10]
    assert opening.read_head(file_of("s3://bucket/x"), 10) == CONTENT[:10]
    assert remote == [(0, 10)]


@pytest.mark.parametrize("path", ["s3://bucket/x", "here"])
def test_a_file_can_be_read_from_anywhere_in_it(tmp_path: Path, remote: list, path: str) -> None:
    (tmp_path / "here").write_bytes(CONTENT)
    where = path if "://" in path else str(tmp_path / path)
    with opening.open_raw(file_of(where), 8) as file:
        assert file.read(3) == CONTENT[:3]
        assert file.seek(4, io.SEEK_CUR) == file.tell() == 7
        assert file.read(2) == CONTENT[7:9]
        assert file.seek(-2, io.SEEK_END) == 98
        assert file.read() == CONTENT[98:]
        assert file.seek(50) == 50
        assert file.read(1) == CONTENT[50:51]
    assert bool(remote) is ("://" in path)
