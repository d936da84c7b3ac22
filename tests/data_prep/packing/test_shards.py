"""Shards: packs gathered from tokenized parts, as the trainer reads them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.packing import shards
from nemotron.data_prep.packing.lengths import find_limit, find_longest_sequence, pad_length
from nemotron.data_prep.packing.shards import (
    Gathering,
    ShardWork,
    choose_row_group_size,
    count_shards,
    read_finished_shard,
    read_shard_receipt,
    receipt_of,
    write_shard,
)
from nemotron.data_prep.part_index import EMPTY_INDEX, Histories
from nemotron.data_prep.tokenization.part_files import PartWriter, write_part

PAD = 7
"""Not 0: what is left unwritten looks like zeros."""


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    """Two parts: tokens 100.. and 200.., of which every third is masked in."""

    def make(name: str, first: int) -> Path:
        def fill(writer: PartWriter) -> None:
            ids = np.arange(first, first + 20, dtype=np.int32)
            writer.append(ids, (ids % 3 == 0).astype(np.uint8), EMPTY_INDEX)

        write_part(tmp_path / name, fill)
        return tmp_path / name

    return make("a", 100), make("b", 200)


def work(
    folder: Path,
    sequences: list[tuple[int, int, int]],
    pack_bounds: list[int],
    histories: Sequence[tuple[int, int]] = (),
) -> ShardWork:
    """A shard of (part, start, length) sequences, which may begin with a history of another (start, length)."""
    part, start, length = np.array(sequences, np.int64).T
    history = Histories(np.arange(len(histories), dtype=np.int32), *np.array(histories, np.int64).reshape(-1, 2).T)
    targets = 10 * np.arange(len(part), dtype=np.int32)  # told apart from anything else here
    return ShardWork(
        folder / "shard.parquet", folder / "shard.json", part, start, history, length, targets,
        np.array(pack_bounds),
    )  # fmt: skip


def test_packs_are_gathered_and_rolled(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    sequences = [(1, 0, 4), (0, 5, 3), (0, 0, 2)]
    receipt = write_shard(Gathering(parts, PAD, 1, 10, "zstd"), work(tmp_path, sequences, [0, 2, 3]))
    first, second = pq.read_table(tmp_path / "shard.parquet").to_pylist()
    assert first == {
        "input_ids": [200, 201, 202, 203, 105, 106, 107],
        "loss_mask": [1, 0, 0, 0, 0, 0, 0],  # 201 is a target; 105 is one, but nothing of its sequence precedes it
        "seq_start_id": [0, 4],
        "conversation_targets": [0, 10],
    }
    assert second == {
        "input_ids": [100, 101], "loss_mask": [0, 0], "seq_start_id": [0], "conversation_targets": [20],
    }  # fmt: skip
    assert (receipt.packs, receipt.sequences, receipt.tokens) == (2, 3, 9)


def test_a_sequence_begins_with_the_history_that_it_shares(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    """Of 5 tokens 3 are history; of the second one, which was cut, the history is all that is left."""
    job = work(tmp_path, [(0, 10, 5), (1, 12, 2)], [0, 2], histories=[(0, 3), (4, 4)])
    write_shard(Gathering(parts, PAD, 1, 10, "zstd"), job)
    [row] = pq.read_table(tmp_path / "shard.parquet").to_pylist()
    assert row["input_ids"] == [100, 101, 102, 110, 111, 204, 205]
    assert row["loss_mask"] == [0, 1, 0, 1, 0, 0, 0]  # 102 and 111 are divisible by 3


def test_the_schema_is_the_trainers(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    write_shard(Gathering(parts, PAD, 1, 10, "zstd"), work(tmp_path, [(0, 0, 4)], [0, 1]))
    column = pq.ParquetFile(tmp_path / "shard.parquet").metadata.row_group(0).column(0)
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert (column.has_dictionary_page, column.statistics) == (False, None)
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "shard.parquet")}
    assert {name: type.split(": ")[1] for name, type in types.items()} == {
        "input_ids": "int32>", "loss_mask": "uint8>", "seq_start_id": "int32>", "conversation_targets": "int32>",
    }  # fmt: skip


def test_sequences_are_padded_for_context_parallelism(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    write_shard(Gathering(parts, PAD, 4, 10, "zstd"), work(tmp_path, [(0, 0, 3), (1, 0, 5)], [0, 2]))
    row = pq.read_table(tmp_path / "shard.parquet").to_pylist()[0]
    assert row["input_ids"] == [100, 101, 102, PAD, PAD, 200, 201, 202, 203, 204]
    assert row["loss_mask"] == [0, 1, 0, 0, 0, 1, 0, 0, 1, 0]  # 102, 201 and 204 are divisible by 3
    assert row["seq_start_id"] == [0, 5]


@given(st.integers(1, 300), st.integers(1, 64))
def test_what_is_fed_of_a_padded_sequence_is_a_multiple(length: int, multiple: int) -> None:
    padded = int(pad_length(np.array(length), multiple))
    assert (padded - 1) % multiple == 0
    assert length <= padded < length + multiple


@given(st.integers(2, 500), st.integers(1, 64))
def test_the_longest_sequence_fits_and_a_longer_one_does_not(pack_size: int, multiple: int) -> None:
    longest = find_longest_sequence(pack_size, multiple)
    assert int(pad_length(np.array(longest), multiple)) <= pack_size
    assert int(pad_length(np.array(longest + 1), multiple)) > pack_size


def test_the_longest_document_may_be_shorter_than_a_pack_but_not_longer() -> None:
    config = partial(DataPrepConfig, blend_path="", output_dir="", pack_size=100, pad_to_multiple=64)
    assert [find_limit(config(max_doc_tokens=tokens)) for tokens in (None, 64, 65, 66)] == [65, 64, 65, 65]


def test_windows_and_row_groups_do_not_change_the_rows(
    tmp_path: Path, parts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = [(i % 2, i, 2 + i % 7) for i in range(13)]
    bounds = [0, 1, 3, 6, 7, 10, 13]
    whole = work(tmp_path / "whole", sequences, bounds)
    write_shard(Gathering(parts, PAD, 1, 100, "zstd"), whole)
    monkeypatch.setattr(shards, "WINDOW_TOKENS", 12)
    pieces = work(tmp_path / "pieces", sequences, bounds)
    write_shard(Gathering(parts, PAD, 1, 2, "zstd"), pieces)
    assert pq.read_table(pieces.path).to_pylist() == pq.read_table(whole.path).to_pylist()
    assert pq.ParquetFile(pieces.path).metadata.num_row_groups == 3
    monkeypatch.undo()
    write_shard(Gathering(parts, PAD, 1, 2, "zstd"), pieces)  # all in one window
    assert pq.ParquetFile(pieces.path).metadata.num_row_groups == 3


def test_a_window_is_of_whole_row_groups_and_at_least_one(
    tmp_path: Path, parts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven packs of 4 tokens: what is in memory at once depends on the window, not on the shard."""
    job = work(tmp_path, [(0, 0, 4)] * 7, [*range(8)])
    by_two = [(0, 2), (2, 4), (4, 6), (6, 7)]
    ranges = {2: by_two, 15: by_two, 16: [(0, 4), (4, 6), (6, 7)], 28: [(0, 6), (6, 7)]}
    for tokens, expected in ranges.items():
        monkeypatch.setattr(shards, "WINDOW_TOKENS", tokens)
        assert list(shards._windows(job, Gathering(parts, PAD, 1, 2, "zstd"))) == expected


def test_a_damaged_shard_is_not_taken_for_done(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    job = work(tmp_path, [(0, 0, 4)], [0, 1])
    assert read_shard_receipt(job.path, job.receipt) is None
    receipt = write_shard(Gathering(parts, PAD, 1, 10, "zstd"), job)
    assert read_shard_receipt(job.path, job.receipt) == read_finished_shard(job) == receipt
    whole = job.path.read_bytes()
    job.path.write_bytes(whole[:-1])
    assert read_shard_receipt(job.path, job.receipt) is read_finished_shard(job) is None
    job.path.write_bytes(whole[:-1] + b"?")  # of the size that it had
    assert read_finished_shard(job) is None


def test_a_reader_that_verifies_pages_notices_a_changed_mask(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    """Without compression any bytes are packs: only a page's checksum tells."""
    job = work(tmp_path, [(0, 0, 20)], [0, 1])
    write_shard(Gathering(parts, PAD, 1, 10, "none"), job)
    whole, mask = job.path.read_bytes(), np.array([1, 0, 0] * 6, np.int32).tobytes()
    assert whole.count(mask) == 1
    job.path.write_bytes(whole.replace(mask, bytes(len(mask))))
    assert sum(pq.read_table(job.path).to_pylist()[0]["loss_mask"]) == 0
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(job.path, page_checksum_verification=True)


def test_arrow_without_its_other_allocator_writes_the_same(
    tmp_path: Path, parts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_built() -> None:
        raise NotImplementedError

    job = work(tmp_path, [(0, 0, 20)], [0, 1])
    before = write_shard(Gathering(parts, PAD, 1, 10, "zstd"), job)
    monkeypatch.setattr(shards.pa, "jemalloc_memory_pool", not_built)
    assert write_shard(Gathering(parts, PAD, 1, 10, "zstd"), job) == before


def test_few_packs_make_few_shards() -> None:
    """Of 4,096 tokens each, 256 packs are about a million tokens."""
    shards_of = [count_shards(packs, 4096, most=128) for packs in (0, 1, 511, 512, 25_600, 10**6)]
    assert shards_of == [0, 1, 1, 2, 100, 128]


def test_shards_of_long_packs_have_few_of_them_and_of_short_ones_at_least_64() -> None:
    assert [count_shards(20, pack_size, most=128) for pack_size in (2**18, 2**20, 2**22)] == [5, 20, 20]
    assert [count_shards(packs, 4095, most=1000) for packs in (127, 128, 64_000, 10**6)] == [1, 2, 1000, 1000]


def test_a_row_group_is_no_larger_than_a_writer_should_hold() -> None:
    assert choose_row_group_size(256, 4096) == 256
    assert choose_row_group_size(256, 262_144) == 32
    assert choose_row_group_size(256, 2**30) == 1


def test_a_shard_reads_four_bytes_for_a_token(tmp_path: Path) -> None:
    assert work(tmp_path, [(0, 0, 5), (1, 2, 3)], [0, 2]).bytes_to_read == 4 * 8


def test_a_receipt_is_beside_the_splits_under_the_name_of_the_shard() -> None:
    assert receipt_of(Path("/run/splits/train/shard_3.parquet")) == Path("/run/receipts/train/shard_3.json")


@pytest.mark.parametrize("content", ["", "{", "{}", "[]"])
def test_a_damaged_receipt_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "shard.json").write_text(content)
    assert read_shard_receipt(tmp_path / "shard.parquet", tmp_path / "shard.json") is None


def test_where_arrow_lacks_an_allocator_its_usual_one_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> None:
        raise NotImplementedError

    monkeypatch.setattr(shards.pa, "default_memory_pool", lambda: "the usual one")
    monkeypatch.setattr(shards.pa, "jemalloc_memory_pool", lambda: "the other")
    assert shards._choose_pool() == "the other"
    monkeypatch.setattr(shards.pa, "jemalloc_memory_pool", lacking)
    assert shards._choose_pool() == "the usual one"
