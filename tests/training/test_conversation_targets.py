"""The column that Megatron-Bridge's datasets leave alone, read with a stand-in for these."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.errors import UserError
from nemotron.training.conversation_targets import read_conversation_targets

ROWS = [[5], [4, 4, 9], [1, 2], [7, 7, 7, 7], [3]]
"""Of five packs in two shards."""


class Packs:
    """As much of Megatron-Bridge's dataset as is used: it knows its shards, and where a pack's sequences begin."""

    def __init__(self, paths, samples_mapping=None):
        self._parquet_paths, self.samples_mapping = paths, samples_mapping
        self._load_dataset()

    def _load_dataset(self):
        self.loaded = True

    def __getitem__(self, idx):
        row = idx if self.samples_mapping is None else self.samples_mapping[idx]
        return {"seq_boundaries": [*range(len(ROWS[row]) + 1)]}

    def collate_fn(self, batch):
        return {"tokens": len(batch)}


@pytest.fixture
def module():
    """The module in which Megatron-Bridge looks the class up."""
    return SimpleNamespace(GPTSFTPackedParquetDataset=Packs)


@pytest.fixture
def shards(tmp_path):
    paths = []
    for number, rows in enumerate((ROWS[:2], ROWS[2:])):
        paths.append(str(tmp_path / f"shard_{number}.parquet"))
        table = pa.table({"conversation_targets": pa.array(rows, pa.list_(pa.int32()))})
        pq.write_table(table, paths[-1], row_group_size=2, write_page_checksum=True)
    return paths


@pytest.mark.parametrize("order", [None, [4, 0, 3, 1, 2]])
def test_every_pack_has_its_own_values_in_whatever_order(module, shards, order):
    read_conversation_targets(module, True)
    packs = module.GPTSFTPackedParquetDataset(shards, order)
    assert packs.loaded
    for idx in range(-1, 5):  # a negative one is a pack whose mask is emptied
        row = idx if order is None else order[idx]
        assert packs[idx]["conversation_targets"].tolist() == ROWS[row]
        assert len(packs[idx]["seq_boundaries"]) == len(ROWS[row]) + 1  # as Megatron-Bridge has it


def test_packs_of_a_batch_are_filled_up_with_zeros(module, shards):
    read_conversation_targets(module, True)
    packs = module.GPTSFTPackedParquetDataset(shards)
    batch = packs.collate_fn([packs[1], packs[4]])
    assert batch["tokens"] == 2
    assert batch["conversation_targets"].tolist() == [[4, 4, 9], [3, 0, 0]]


def test_it_is_read_only_while_it_is_wanted(module, shards):
    for wanted in (False, True, True, False):
        read_conversation_targets(module, wanted)
        assert ("conversation_targets" in module.GPTSFTPackedParquetDataset(shards)[0]) is wanted
    assert module.GPTSFTPackedParquetDataset is Packs


def test_values_that_are_not_one_for_each_sequence_are_refused(module, shards, monkeypatch):
    read_conversation_targets(module, True)
    packs = module.GPTSFTPackedParquetDataset(shards)
    monkeypatch.setattr(sys.modules[__name__], "ROWS", [[5, 5], *ROWS[1:]])
    with pytest.raises(ValueError, match=r"2 sequences.* 1 .*conversation_targets"):
        packs[0]


def test_a_damaged_value_names_its_shard(module, shards):
    content = bytearray(Path(shards[1]).read_bytes())
    content[content.index(bytes([7, 0, 0, 0]))] ^= 1
    Path(shards[1]).write_bytes(content)
    read_conversation_targets(module, True)
    with pytest.raises(UserError, match=shards[1]):
        module.GPTSFTPackedParquetDataset(shards)
