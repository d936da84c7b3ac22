"""Arrow's files and streams, as `datasets` and Feather write them: rows, parts, and what is no whole file."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from nemotron.data_prep.sources import cut, find_files, read_rows
from nemotron.data_prep.sources import rows as source_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.chat_data import is_chat_data
from nemotron.errors import UserError

VALUES = [{"messages": [{"role": "user", "content": f"{number}?"}], "id": number} for number in range(5)]
TABLE = pa.Table.from_pylist(VALUES)


def values_of(path: Path, **dataset: Any) -> list[Any]:
    files = find_files(Dataset("test", str(path), **dataset))
    return [row.value for file in files for part in cut(file) for row in read_rows(part)]


def write_stream(path: Path, table: pa.Table = TABLE) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    return path


def write_file(path: Path) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, TABLE.schema) as stream:
        stream.write_table(TABLE, max_chunksize=1)
    return path


def save_like_datasets(folder: Path) -> None:
    """The files that `save_to_disk` writes, and the cache that a `map` leaves."""
    write_stream(folder / "data-00000-of-00001.arrow")
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    (folder / "dataset_info.json").write_text("{}")
    write_stream(folder / "cache-0123456789abcdef.arrow")


def test_files_and_streams_give_the_same_rows(tmp_path: Path) -> None:
    feather.write_feather(TABLE, str(tmp_path / "rows.feather"))
    paths = [write_file(tmp_path / "file.arrow"), write_stream(tmp_path / "stream.arrow"), tmp_path / "rows.feather"]
    assert [values_of(path) for path in paths] == [VALUES] * 3
    [file] = find_files(Dataset("test", str(paths[0])))
    assert [row.line for part in cut(file) for row in read_rows(part)] == [0, 1, 2, 3, 4]


def test_a_stream_of_before_messages_had_marks_is_read(tmp_path: Path) -> None:
    options = pa.ipc.IpcWriteOptions(use_legacy_format=True)
    path = tmp_path / "old.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, TABLE.schema, options=options) as stream:
        stream.write_table(TABLE)
    assert values_of(path) == VALUES


def test_a_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_file(tmp_path / "file.arrow")
    [file] = find_files(Dataset("test", str(path)))
    assert [part.span for part in cut(file)] == [(0, 5)]
    monkeypatch.setattr(source_rows, "PART_BYTES", 2 * file.size // 5)
    assert [part.span for part in cut(file)] == [(0, 2), (2, 4), (4, 5)]
    assert values_of(path) == VALUES


def test_a_folder_that_datasets_saved_is_its_rows(tmp_path: Path) -> None:
    save_like_datasets(tmp_path / "saved")
    assert is_chat_data(tmp_path / "saved")
    assert values_of(tmp_path / "saved") == VALUES
    assert values_of(tmp_path / "saved" / "*") == VALUES


def test_of_saved_splits_one_is_asked_for(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save_like_datasets(tmp_path / split)
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert is_chat_data(tmp_path)
    with pytest.raises(UserError, match="test, train") as error:
        values_of(tmp_path)
    assert str(tmp_path / "test") in str(error.value.hint)
    assert values_of(tmp_path, recursive=True) == VALUES * 2


@pytest.mark.slow
def test_what_datasets_writes_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_list(VALUES)
    saved.save_to_disk(str(tmp_path / "saved"), num_shards=2)
    assert values_of(tmp_path / "saved") == VALUES


@pytest.mark.parametrize("kept", [0, 3, -8, 0.5])
@pytest.mark.parametrize("write", [write_file, write_stream])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, write: Any, kept: float) -> None:
    path = write(tmp_path / "rows.arrow")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))] if isinstance(kept, float) else content[:kept])
    with pytest.raises(UserError, match=r"rows\.arrow"):
        values_of(path)


@pytest.mark.parametrize("damaged", [1, 2])
def test_offsets_that_point_elsewhere_are_refused(tmp_path: Path, damaged: int) -> None:
    """Arrow reads what offsets say: a damaged one is memory of somebody else."""
    table = pa.table({"prompt": ["abc", "defg"]})
    path = write_stream(tmp_path / "rows.arrow", table)
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, 3, 7))
    content = path.read_bytes()
    assert content.count(offsets) == 1
    other = offsets[: 4 * damaged] + (2**30).to_bytes(4, "little") + offsets[4 * damaged + 4 :]
    path.write_bytes(content.replace(offsets, other))
    with pytest.raises(UserError, match=r"rows\.arrow"):
        values_of(path)


@pytest.mark.parametrize("content", [b"FEA1" + bytes(60), b"some,text\n", b"PAR1" + bytes(60)])
def test_what_is_no_arrow_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.feather").write_bytes(content)
    with pytest.raises(UserError, match=r"rows\.feather") as error:
        values_of(tmp_path / "rows.feather")
    assert error.value.hint


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
def test_columns_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    answers = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["prompt", "answer", "answer"])
    path = tmp_path / name
    if path.suffix == ".parquet":
        pq.write_table(answers, path)
    else:
        write_stream(path, answers)
    with pytest.raises(UserError, match='"answer"'):
        values_of(path)
