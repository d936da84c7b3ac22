"""Which files of a folder are data."""

import pytest

from nemotron.data_prep.sources.input_file import (
    format_of,
    leave_out_bookkeeping,
    list_suffixes,
    may_be_array,
    no_data_files,
    stem_of,
)


@pytest.mark.parametrize(
    ("path", "format", "stem"),
    [
        ("data/part.00.jsonl.zst", "jsonl", "part.00"),
        ("Chat.JSONL", "jsonl", "Chat"),
        ("chat.ndjson", "jsonl", "chat"),
        ("chat.pq", "parquet", "chat"),
        ("chat.feather", "arrow", "chat"),
        ("chat.tsv", "tsv", "chat"),
        ("chat.csv.gz", "csv", "chat"),
        ("chat.parquet", "parquet", "chat"),
        ("chat.parquet.gz", None, "chat"),  # Parquet compresses its pages itself
        ("chat.txt", None, "chat"),
        ("chat", None, "chat"),
    ],
)
def test_a_name_tells_the_format(path: str, format: str | None, stem: str) -> None:
    assert format_of(path) == format
    assert stem_of(path) == stem


@pytest.mark.parametrize(("path", "may"), [("a.json", True), ("a.JSON.gz", True), ("a.jsonl", False), ("json", False)])
def test_only_json_may_be_an_array(path: str, may: bool) -> None:
    assert may_be_array(path) is may


@pytest.mark.parametrize(
    ("found", "left_out"),
    [
        (["state.json", "dataset_info.json", "data-0.arrow", "cache-1.arrow"], [0, 1, 3]),
        (["state.json", "data-0.ARROW"], [0]),
        (["state.json", "data-0.arrow", "cache-notes.jsonl", "my-cache-1.arrow"], [0]),
        # Of several splits.
        (["d/dataset_dict.json", "d/train/state.json", "d/train/data-0.arrow", "d/test/data-0.arrow"], [0, 1]),
        (["d/train/state.json", "d/train/data-0.arrow", "d/other/state.json"], [0]),
        # Data with such names, next to no saved dataset.
        (["state.json", "dataset_info.json", "records.jsonl"], []),
        (["dataset_info.json", "data-0.arrow", "cache-1.arrow"], []),
        (["a/state.json", "b/data-0.arrow"], []),
    ],
)
def test_what_datasets_keeps_next_to_its_files_is_left_out(found: list[str], left_out: list[int]) -> None:
    assert leave_out_bookkeeping(iter(found)) == [path for at, path in enumerate(found) if at not in left_out]


def test_a_folder_without_data_says_what_it_may_hold() -> None:
    error = no_data_files("mine", "data", recursive=False)
    assert 'Dataset "mine": no data files in the folder data.' in error.message
    assert '"recursive": true' in (error.hint or "")
    assert "*.jsonl" in (error.hint or "")
    assert "recursive" not in (no_data_files("mine", "data", recursive=True).hint or "")
    assert list_suffixes().endswith("; .jsonl, .ndjson, .json, .csv, .tsv also as .gz or .zst")
