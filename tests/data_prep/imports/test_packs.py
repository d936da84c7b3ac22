"""Packed Parquet of other tools: each fault is named with its file and row; what is right is counted."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.imports.packs import Limits, check_file

GOOD = {"input_ids": [5, 6, 7, 8, 9], "loss_mask": [0, 1, 0, 1, 0], "seq_start_id": [0, 3]}
LIMITS = Limits(pack_size=8, vocab_size=100)


def check(tmp_path, rows, limits=LIMITS, kinds=("int32", "uint8", "int32")):
    columns = {
        name: pa.array([row[name] for row in rows], pa.list_(getattr(pa, kind)()))
        for name, kind in zip(GOOD, kinds, strict=True)
    }
    path = tmp_path / "shard.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return check_file(path, limits)


@pytest.mark.parametrize("kinds", [("int32", "uint8", "int32"), ("int64", "int8", "int64")])
def test_what_is_right_is_counted(tmp_path, kinds):
    checked = check(tmp_path, [GOOD] * 5, kinds=kinds)
    counts = checked.counts
    assert not checked.problems
    assert (counts.packs, counts.sequences, counts.tokens, counts.supervised_tokens, counts.longest) == (
        5,
        10,
        25,
        10,
        5,
    )
    # The trainer never trains the position of an end-of-sequence token.
    assert check(tmp_path, [GOOD], Limits(eos_id=6)).counts.supervised_tokens == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"input_ids": None}, "input_ids is null"),
        ({"loss_mask": [0, None, 0, 1, 0]}, "loss_mask has a null"),
        ({"input_ids": [], "loss_mask": []}, "input_ids is empty"),
        ({"loss_mask": [0, 1, 0, 1]}, "5 tokens, and loss_mask 4"),
        ({"loss_mask": [0, 2, 0, 1, 0]}, "the value 2"),
        ({"input_ids": [5, 6, 7, 100, 9]}, "the id 100"),
        ({"input_ids": [5, 6, 7, -1, 9]}, "the id -1"),
        ({"seq_start_id": []}, "seq_start_id is empty"),
        ({"seq_start_id": [1, 3]}, "seq_start_id is [1, 3]"),
        ({"seq_start_id": [0, 3, 3]}, "seq_start_id is [0, 3, 3]"),
        ({"seq_start_id": [0, 3, 2]}, "seq_start_id is [0, 3, 2]"),
        ({"seq_start_id": [0, 5]}, "seq_start_id is [0, 5] in a pack of 5"),
        ({"seq_start_id": [0, -1]}, "seq_start_id is [0, -1]"),
        ({"loss_mask": [0, 1, 1, 1, 0]}, "not rolled"),
        ({"loss_mask": [0, 1, 0, 1, 1]}, "not rolled"),
        ({"input_ids": [1] * 9, "loss_mask": [0] * 9}, "9 tokens, more than the pack size of 8"),
    ],
)
def test_each_fault_is_named_with_file_and_row(tmp_path, changed, said):
    for before in range(4):  # in the first row group and in the second
        checked = check(tmp_path, [GOOD] * before + [{**GOOD, **changed}, GOOD])
        named = [problem for problem in checked.problems if said in problem.message]
        assert len(named) == 1
        assert f"shard.parquet, row {before}: " in named[0].message
        assert named[0].hint


def test_sequences_are_padded_as_it_is_said(tmp_path):
    assert not check(tmp_path, [{**GOOD, "input_ids": [1] * 4, "loss_mask": [0] * 4, "seq_start_id": [0, 2]}],
                     Limits(pad_to_multiple=2)).problems  # fmt: skip
    [problem] = check(tmp_path, [GOOD], Limits(pad_to_multiple=2)).problems
    assert re.search(r"\b2\b.*\b3\b", problem.message)


def test_columns_are_lists_of_whole_numbers(tmp_path):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"input_ids": [[1]], "loss_mask": [[0.5]], "text": ["x"]}), path)
    mask, starts = check_file(path, LIMITS).problems
    assert re.search(r"loss_mask .*list<", mask.message)
    assert re.search(r"seq_start_id.* input_ids, loss_mask, text", starts.message)
    path.write_bytes(b"PAR1 cut off")
    [problem] = check_file(path, LIMITS).problems
    assert re.search(rf"{path}.* Parquet", problem.message)


sequences = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=4), min_size=1, max_size=4
)


@given(st.lists(sequences, min_size=1, max_size=5))
def test_whatever_is_packed_as_it_should_be_passes(tmp_path_factory, packs):
    rows = []
    for pack in packs:
        starts = [sum(len(sequence) for sequence in pack[:index]) for index in range(len(pack))]
        mask = [int(trained) for sequence in pack for trained in [*(flag for _, flag in sequence[1:]), False]]
        rows.append(
            {"input_ids": [i for sequence in pack for i, _ in sequence], "loss_mask": mask, "seq_start_id": starts}
        )
    checked = check(tmp_path_factory.mktemp("packs"), rows, Limits(pack_size=16, vocab_size=10))
    assert not checked.problems
    assert checked.counts.sequences == sum(len(pack) for pack in packs)
    assert checked.counts.supervised_tokens == sum(sum(row["loss_mask"]) for row in rows)
