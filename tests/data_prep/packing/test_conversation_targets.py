"""The column `conversation_targets`: of each sequence, the supervised tokens of its whole conversation.

Checked against the packs themselves: sequences are put together by the number that their question names, and their
targets counted as Megatron-Bridge's collator does.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.output.verify import _check_shard, verify
from nemotron.data_prep.packing.shards import SCHEMA
from nemotron.data_prep.pipeline import PrepResult, prepare

Sequence = tuple[int, int, int]


def reasoning(number: int, turns: int, question: str = "") -> dict[str, Any]:
    """A conversation whose every user turn is a training sequence of its own: earlier thoughts are dropped."""
    messages: list[dict[str, str]] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"#{number}# turn {turn}{question}?"})
        thought = "hm " * (number % 5 + turn)
        messages.append({"role": "assistant", "content": f"answer {number}", "reasoning_content": thought})
    return {"messages": messages}


def read(result: PrepResult, decode: Callable[[list[int]], str], split: str = "train") -> list[Sequence]:
    """(number of the conversation, targets, conversation_targets) of every sequence."""
    found, eos = [], result.metadata.tokenizer["eos_id"]
    for path in sorted((result.splits_dir / split).glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            bounds = [*row["seq_start_id"], len(row["input_ids"])]
            for (start, end), whole in zip(pairwise(bounds), row["conversation_targets"], strict=True):
                ids, mask = row["input_ids"][start:end], row["loss_mask"][start:end]
                targets = sum(bit for bit, token in zip(mask, ids, strict=True) if token != eos)
                found.append((int(decode(ids).split("#")[1]), targets, whole))
    return found


def assert_whole(sequences: list[Sequence], copies: int = 1) -> None:
    """Every sequence names what all sequences of its conversation have together."""
    together: dict[int, int] = defaultdict(int)
    for number, targets, _ in sequences:
        together[number] += targets
    assert {(number, whole) for number, _, whole in sequences} == {(n, t // copies) for n, t in together.items()}


def test_every_sequence_names_the_targets_of_its_whole_conversation(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, decode: Callable
) -> None:
    write_rows("chat.jsonl", [reasoning(number, number % 4 + 1) for number in range(40)])
    result = prepare(make_config("chat.jsonl", pack_size=1024, pad_to_multiple=8))
    sequences = read(result, decode)
    assert len(sequences) == result.metadata.splits[0].sequences == 40 * 10 // 4
    assert_whole(sequences)
    # What each adds to |B|, as loss.sample_unit=conversation counts it: one for every conversation.
    assert sum(targets / whole for _, targets, whole in sequences) == pytest.approx(40)
    assert list(verify(result.plan.output_dir)) == []


@pytest.mark.parametrize("overlong", ["split_turns", "truncate"])
def test_what_did_not_fit_does_not_count(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, decode: Callable, overlong: str
) -> None:
    """Later turns of these do not fit, or not whole; what is left of a conversation is all there is of it."""
    write_rows("chat.jsonl", [reasoning(number, 5, " " + "why " * 15) for number in range(12)])
    result = prepare(make_config("chat.jsonl", pack_size=400, overlong=overlong))
    assert result.metadata.overlong.truncated == 12
    assert_whole(read(result, decode))
    assert list(verify(result.plan.output_dir)) == []


def test_every_copy_of_a_repeated_conversation_counts_once(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, decode: Callable
) -> None:
    write_rows("chat.jsonl", [reasoning(number, 2) for number in range(5)])
    blend = {"datasets": [{"path": "chat.jsonl", "repeat": True, "weight": 1}]}
    result = prepare(make_config(blend=blend, pack_size=1024, **{"blend.samples": 15}))
    sequences = read(result, decode)
    assert_whole(sequences, copies=3)
    assert sum(targets / whole for _, targets, whole in sequences) == pytest.approx(15)
    assert list(verify(result.plan.output_dir)) == []


@pytest.mark.parametrize(
    ("values", "shown"),
    [([3] * 10, "conversations [3, 3"), ([0] * 10, "conversations [0, 0"), ([9], "1 values of")],
)
def test_values_that_cannot_be_are_found(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, values: list[int], shown: str
) -> None:
    write_rows("chat.jsonl", [reasoning(number, 2) for number in range(5)])
    result = prepare(make_config("chat.jsonl", pack_size=4096))
    [path] = (result.plan.run_dir / "splits" / "train").glob("*.parquet")
    table = pq.read_table(path)
    last = len(SCHEMA) - 1
    pq.write_table(table.set_column(last, SCHEMA.field(last), pa.array([values], SCHEMA.field(last).type)), path)
    [problem], _, _ = _check_shard(path, result.metadata)
    assert shown in problem
