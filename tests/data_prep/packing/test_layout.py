"""Which sequences share a pack: padding, over-long ones and the seed are heeded where packs are laid out."""

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.packing import shards
from nemotron.data_prep.packing.layout import PackedSplit, count_conversation_targets, measure_fill
from nemotron.data_prep.pipeline import PrepResult, prepare


@pytest.fixture
def prepared(make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable) -> Callable:
    """Data prep of forty conversations of many lengths, with some settings."""
    write_rows("chat.jsonl", [chat(f"Question {n}?", "word " * (n * 7 % 40 + 1)) for n in range(40)])
    return lambda **settings: prepare(make_config("chat.jsonl", **settings))


def rows(result: PrepResult) -> list[dict[str, list[int]]]:
    return [row for path in sorted(result.splits_dir.glob("*/*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_packs_have_room_for_the_padding(prepared: Callable) -> None:
    packs = rows(prepared(pack_size=1024, pad_to_multiple=64))
    assert max(len(pack["input_ids"]) for pack in packs) <= 1024
    for pack in packs:
        ends = [*pack["seq_start_id"], len(pack["input_ids"])]
        assert all((end - start - 1) % 64 == 0 for start, end in pairwise(ends))


def test_shards_divide_the_packs_in_order(prepared: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(prepared(pack_size=128))
    monkeypatch.setattr(shards, "LEAST_PACKS", 2)
    result = prepared(pack_size=128, num_shards=3)
    assert len(list(result.splits_dir.glob("train/*.parquet"))) == 3
    assert rows(result) == whole


def test_a_sequence_of_which_nothing_is_left_takes_no_place(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable
) -> None:
    """Of a conversation with two sequences one is cut before its answer: the other is packed without it."""
    thought = {"role": "assistant", "content": "<think>why</think>Yes."}
    first = [{"role": "user", "content": "Hi"}, thought]
    second = [{"role": "user", "content": "word " * 300}, thought]
    write_rows("chat.jsonl", [{"messages": [*first, *second]}, chat("Hi", "Hello")])
    result = prepare(make_config("chat.jsonl", pack_size=700, overlong="truncate"))
    [pack] = rows(result)
    assert result.metadata.splits[0].sequences == len(pack["seq_start_id"]) == 2
    assert result.metadata.overlong.truncated == 1


def test_the_seed_decides_which_sequences_share_a_pack(prepared: Callable) -> None:
    def packs(seed: int) -> list[list[int]]:
        return [pack["input_ids"] for pack in rows(prepared(seed=seed))]

    one, other = packs(1), packs(2)
    assert one != other
    assert sorted(np.concatenate(one).tolist()) == sorted(np.concatenate(other).tolist())


def test_the_fill_of_a_dataset_is_that_of_the_packs_that_its_tokens_are_in() -> None:
    """Of the first dataset 10 tokens are in a full pack and 40 in another: (10 x 100 % + 40 x 41 %) / 50."""
    corpus: Any = SimpleNamespace(dataset=np.array([0, 1, 0, 2]), conversation=np.arange(4))
    packed = PackedSplit(0, np.array([0, 1, 2, 3]), np.array([0, 2, 4]), np.array([10, 90, 40, 1]))
    fill = measure_fill(corpus, [packed], 100, 4)
    assert fill[:3].tolist() == pytest.approx([0.528, 1, 0.41])
    assert np.isnan(fill[3])


def test_targets_are_counted_per_conversation_in_every_part() -> None:
    """Of two parts: the first has conversations 0 and 1, with the sequences 1 + 2 and 3, the second conversation 2."""
    parts = [
        SimpleNamespace(sequences=slice(0, 3), conversations=slice(0, 2)),
        SimpleNamespace(sequences=slice(3, 4), conversations=slice(2, 3)),
    ]
    corpus: Any = SimpleNamespace(conversations=3, conversation=np.array([0, 0, 1, 2]), each_part=lambda: parts)
    cut: Any = SimpleNamespace(targets=np.array([1, 2, 3, 4]))
    assert count_conversation_targets(corpus, cut).tolist() == [3, 3, 4]
