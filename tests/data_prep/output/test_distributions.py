"""Bins that people can read, and what is counted in them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.output.distributions import (
    MOST_BINS,
    Distribution,
    count_distributions,
    distribute,
    find_edges,
)
from nemotron.data_prep.packing.layout import PackedSplit
from nemotron.data_prep.pipeline import prepare


def test_bins_have_round_edges() -> None:
    assert find_edges(3, 6) == [3, 4, 5, 6, 7]
    assert find_edges(64, 255) == [64, 72, 80, 88, 96, 104, 112, 120, 128, 144, 160, 176, 192, 208, 224, 240, 256]
    assert find_edges(0, 2000)[-4:] == [768, 1024, 1536, 2048]
    assert find_edges(0, 40) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48]


def test_as_many_numbers_as_there_may_be_bins_have_a_bin_each() -> None:
    assert find_edges(100, 99 + MOST_BINS) == list(range(100, 101 + MOST_BINS))
    assert find_edges(100, 100 + MOST_BINS) == [96, 104, 112, 120, 128]
    assert [len(find_edges(64, highest)) - 1 for highest in (511, 512)] == [MOST_BINS, 13]


def test_quantiles_of_whole_numbers_are_whole_and_of_others_have_one_decimal() -> None:
    assert distribute(np.array([12.34, 12.36]), [0.0, 100.0]).quantiles["min"] == 12.3
    assert distribute(np.array([12.34, 12.36]), [0.0, 100.0]).quantiles["max"] == 12.4
    assert distribute(np.array([12, 13])).quantiles["median"] == 12
    quantiles = {"min": 0, "p10": 10, "median": 50, "p90": 90, "p99": 99, "max": 100}
    assert distribute(np.arange(101)).quantiles == quantiles


def test_a_sequence_that_was_cut_to_nothing_has_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first conversation one sequence of two is left; the second is not used, the third twice."""
    corpus: Any = SimpleNamespace(conversation=np.array([0, 0, 1, 2]), conversations=3)
    cut: Any = SimpleNamespace(length=np.array([5, 0, 9, 7]), targets=np.array([2, 0, 4, 3]))
    selection: Any = SimpleNamespace(copies=np.array([1, 0, 2]))
    monkeypatch.setattr("nemotron.data_prep.output.distributions.PACKS_AT_ONCE", 1)
    packs = PackedSplit(0, np.array([0, 3, 3]), np.array([0, 1, 3]), np.array([5, 7, 7]))
    found = count_distributions(corpus, cut, selection, [packs], pack_size=16)
    assert (found["sequence_tokens"].edges, found["sequence_tokens"].counts) == ([5, 6, 7, 8], [1, 0, 2])
    assert found["conversation_tokens"].counts == [1, 0, 2]
    assert found["conversation_supervised"].quantiles["min"] == 2
    assert found["pack_fill"].edges == [5 * step for step in range(21)]
    assert found["pack_fill"].mean == pytest.approx(100 * (5 + 14) / 32)
    assert found["pack_conversations"].quantiles["max"] == 1


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_every_value_has_a_bin_and_there_are_few(one: int, other: int) -> None:
    low, high = sorted((one, other))
    edges = find_edges(low, high)
    assert edges[0] <= low <= high < edges[-1]
    assert edges == sorted(set(edges))
    assert len(edges) - 1 <= 2 * MOST_BINS
    assert sum(distribute(np.array([low, high])).counts) == 2


def test_what_is_counted_is_what_the_packs_hold(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    rows = [chat(f"Question {i}?", "word " * (i % 30)) for i in range(90)]
    write_rows("chat.jsonl", rows)
    result = prepare(make_config("chat.jsonl", pad_to_multiple=16))
    found = result.metadata.distributions
    packs = pq.read_table(result.splits_dir / "train").to_pylist()
    fill = [len(pack["input_ids"]) / 2.56 for pack in packs]
    assert found["pack_fill"].counts == np.histogram(fill, found["pack_fill"].edges)[0].tolist()
    per_pack = [len(pack["seq_start_id"]) for pack in packs]
    assert found["pack_conversations"].mean == pytest.approx(np.mean(per_pack))
    assert found["pack_conversations"].quantiles["max"] == max(per_pack)
    supervised = [count for pack in packs for count in pack["conversation_targets"]]
    assert found["conversation_supervised"].mean == pytest.approx(np.mean(supervised))
    [split] = result.metadata.splits
    assert split.tokens + split.padding == sum(len(pack["input_ids"]) for pack in packs)
    assert found["sequence_tokens"].mean == pytest.approx(split.tokens / split.sequences)


def test_a_conversation_of_several_sequences_counts_once(
    make_config: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """With reasoning each user turn is a sequence, with the history before it: the longest is the conversation."""
    thought = {"role": "assistant", "content": "Hello", "reasoning_content": "Hm."}
    user = {"role": "user", "content": "Hi"}
    write_rows("two.jsonl", [{"messages": [user, thought, user, thought]}])
    found = prepare(make_config("two.jsonl")).metadata.distributions
    assert sum(found["conversation_tokens"].counts) == 1
    assert sum(found["sequence_tokens"].counts) == 2
    assert found["conversation_tokens"].mean == found["sequence_tokens"].quantiles["max"]
    assert found["pack_conversations"].quantiles["max"] == 1


def test_a_conversation_that_the_blend_repeats_counts_as_often_as_it_is_used(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    write_rows("short.jsonl", [chat("Hi", "Hello")])
    write_rows("long.jsonl", [chat(f"{number}?", "word " * 20) for number in range(4)])
    blend = {"datasets": [{"path": "long.jsonl", "weight": 1}, {"path": "short.jsonl", "weight": 1, "repeat": True}]}
    found = prepare(make_config(blend=blend)).metadata.distributions
    for name in ("conversation_tokens", "conversation_supervised", "sequence_tokens"):
        assert (found[name].counts[0], found[name].counts[-1], sum(found[name].counts)) == (4, 4, 8)


@pytest.mark.parametrize(("edges", "counts"), [([0.0], []), ([0.0, 1.0, 2.0], [5]), ([0.0, 1.0], [5, 6])])
def test_bins_have_one_edge_more_than_counts(edges: list[float], counts: list[int]) -> None:
    assert Distribution([0.0, 1.0], [5], {}, 0.5).counts == [5]
    with pytest.raises(ValueError, match=f"{len(counts)} bins have {len(edges)} edges"):
        Distribution(edges, counts, {}, 0.5)
