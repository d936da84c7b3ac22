"""Packs that are not what was written never reach the model, also where nobody compares whole shards."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.training.bridge.stand_ins import Specs

from nemotron.errors import UserError
from nemotron.training.bridge import Packs
from nemotron.training.bridge.packed_data import describe_packs, verify_pages


def reader(*shards):
    """Make a dataset that opens shards as Megatron-Bridge's GPTSFTPackedParquetDataset does, in both its lines."""

    class Dataset:
        def __init__(self):
            self._parquet_paths = [str(shard) for shard in shards]
            self._parquet_files = {}

        def _ensure_reader(self, file_idx):
            if file_idx not in self._parquet_files:
                self._parquet_files[file_idx] = (pq.ParquetFile(self._parquet_paths[file_idx]), None)
            return self._parquet_files[file_idx][0]

        def ids(self, file_idx):
            return self._ensure_reader(file_idx).read_row_group(0, columns=["input_ids"])["input_ids"].to_pylist()

    return Dataset


@pytest.fixture
def shard(tmp_path):
    """One pack, not compressed: whatever its bytes are, they can be read."""
    path = tmp_path / "shard.parquet"
    pack = pa.table([[list(range(1000, 1100))]], schema=pa.schema([("input_ids", pa.list_(pa.int32()))]))
    pq.write_table(pack, path, compression="none", use_dictionary=False, write_page_checksum=True)
    return path


def change_a_token(shard):
    content = shard.read_bytes()
    token = (1050).to_bytes(4, "little")
    assert content.count(token) == 1
    shard.write_bytes(content.replace(token, (1051).to_bytes(4, "little")))


def test_a_whole_shard_is_read(shard):
    dataset = reader(shard)
    verify_pages(dataset)
    assert dataset().ids(0) == [list(range(1000, 1100))]


def test_a_changed_token_is_read_without_a_word_by_megatron_and_refused_here(shard):
    change_a_token(shard)
    dataset = reader(shard)
    assert dataset().ids(0)[0][50] == 1051
    verify_pages(dataset)
    with pytest.raises(UserError, match=str(shard)):
        dataset().ids(0)


def test_a_shard_that_was_cut_off_is_named(shard):
    shard.write_bytes(shard.read_bytes()[:-1])
    dataset = reader(shard)
    verify_pages(dataset)
    with pytest.raises(UserError, match=str(shard)):
        dataset().ids(0)


def test_asking_twice_wraps_once(shard):
    dataset = reader(shard)
    verify_pages(dataset)
    once = dataset._ensure_reader
    verify_pages(dataset)
    assert dataset._ensure_reader is once


def test_a_shard_in_an_object_store_is_left_to_megatron():
    dataset = reader("msc://bucket/shard.parquet")
    verify_pages(dataset)
    with pytest.raises(pa.ArrowInvalid, match="msc:"):
        dataset().ids(0)


def describe(valid, conversation_targets=False, **options):
    """The specs, the fields, and whether the dataset reads conversation_targets and verifies pages."""
    module = SimpleNamespace(GPTSFTPackedParquetDataset=reader())
    packs = Packs(Path("data/train"), valid, 512, options, conversation_targets)
    specs, fields = describe_packs(packs, Specs, module)
    used = module.GPTSFTPackedParquetDataset
    return specs, fields, (hasattr(used, "stock"), hasattr(used._ensure_reader, "__wrapped__"))


def test_megatron_is_told_where_packs_are_and_how_long():
    specs, fields, (_, verifies) = describe(Path("data/valid"), pad_seq_to_mult=16, num_workers=3)
    assert specs == Specs(512, "data/train", "data/valid", "data/metadata.json", 16)
    assert fields == {
        "num_workers": 3,
        "seq_length": 512,
        "dataset_root": "data",
        "do_validation": True,
        "do_test": False,
        "dataset_kwargs": {"pad_to_max_length": True},
    }
    assert verifies


@pytest.mark.parametrize(
    ("valid", "options", "expected"),
    [(Path("v"), {}, True), (Path("v"), {"do_validation": False}, False), (None, {"do_validation": True}, False)],
)
def test_a_valid_split_is_read_where_there_is_one_and_nobody_refuses_it(valid, options, expected):
    specs, fields, _ = describe(valid, **options)
    assert fields["do_validation"] is expected
    assert specs.packed_val_data_path == (None if valid is None else "v")
    assert specs.pad_seq_to_mult == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"pad_to_max_length": True}),
        ({"pad_to_max_length": False, "chat": True}, {"pad_to_max_length": False, "chat": True}),
    ],
)
def test_what_the_dataset_is_given_may_be_set(given, expected):
    assert describe(None, dataset_kwargs=given)[1]["dataset_kwargs"] == expected


@pytest.mark.parametrize("wanted", [True, False])
def test_conversation_targets_are_read_where_they_are_asked_for(wanted):
    assert describe(None, conversation_targets=wanted)[2][0] is wanted


def test_a_shard_is_closed_like_a_file_of_pyarrow(shard):
    dataset = reader(shard)
    verify_pages(dataset)
    opened = dataset()._ensure_reader(0)
    opened.close()
    with pytest.raises(UserError, match="closed"):
        opened.read_row_group(0, columns=["input_ids"])
