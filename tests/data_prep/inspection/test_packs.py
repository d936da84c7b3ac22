"""Packs decoded: text, mask, and the row each sequence came from; the same as the rows look before packing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.data_prep import planned_inputs
from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.inspection import origins
from nemotron.data_prep.inspection.packs import describe_origin, find_packed, inspect_packs
from nemotron.data_prep.inspection.rows import inspect_file
from nemotron.data_prep.inspection.wanted import Wanted
from nemotron.data_prep.packing.lengths import pad_length
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.errors import UserError


@pytest.fixture
def result(write_rows: Callable, chat: Callable, make_config: Callable[..., DataPrepConfig]) -> PrepResult:
    """Two files, the first with a broken row, one conversation of several turns, sequences padded to 8."""
    write_rows("a.jsonl", [chat("One?", "1."), {"messages": []}, chat("Two?", "2.", "Sure?", "Yes.")])
    write_rows("b.jsonl", [chat("Three?", "3."), chat("Four?", "4. \U0001f600")])
    return prepare(make_config("a.jsonl", "b.jsonl", pad_to_multiple=8))


@pytest.fixture
def tokenizer(result: PrepResult) -> Tokenizer:
    return load_tokenizer(result.plan.config.tokenizer)


def sequences(result: PrepResult, tokenizer: Tokenizer, wanted: Wanted, path: Path | None = None) -> list[dict]:
    packed = find_packed(path or result.plan.output_dir)
    assert packed is not None
    return [sequence for pack in inspect_packs(packed, tokenizer, wanted) for sequence in pack["sequences"]]


def trained(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["text"] for chunk in chunks if chunk["supervised"])


def test_every_sequence_names_its_row_and_says_what_its_row_says(
    result: PrepResult, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    packed = {(s["dataset"], s["line"]): s for s in sequences(result, tokenizer, Wanted())}
    assert sorted(packed) == [("a", 1), ("a", 3), ("b", 1), ("b", 2)]
    for dataset in ("a", "b"):
        for row in inspect_file(tmp_path / f"{dataset}.jsonl", load_template("nemotron3"), tokenizer):
            if row["outcome"] == "kept":
                [before], after = row["sequences"], packed[dataset, row["line"]]
                assert "".join(c["text"] for c in after["chunks"]) == "".join(c["text"] for c in before)
                assert after["supervised_tokens"] == sum(c["supervised_tokens"] for c in before)
                # The newline after <|im_end|> belongs to the answer's chunk, and does not train.
                assert trained(after["chunks"]) == trained(before).replace("<|im_end|>\n", "<|im_end|>")
                assert after["tokens"] + after["padding"] == pad_length(np.array(after["tokens"]), 8)


def test_of_rows_that_say_the_same_it_is_the_first(
    write_rows: Callable, chat: Callable, make_config: Callable[..., DataPrepConfig]
) -> None:
    write_rows("a.jsonl", [chat("One?", "1."), chat("Two?", "2."), chat("Two?", "2.")])
    write_rows("b.jsonl", [chat("Two?", "2.")])
    result = prepare(make_config("a.jsonl", "b.jsonl"))
    found = sequences(result, load_tokenizer(result.plan.config.tokenizer), Wanted())
    assert sorted((one["dataset"], one["line"]) for one in found) == [("a", 1), ("a", 2), ("a", 2), ("a", 2)]


def test_of_small_files_that_were_prepared_together_the_right_one_is_named(
    write_rows: Callable,
    chat: Callable,
    make_config: Callable[..., DataPrepConfig],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(planned_inputs, "FEW_FILES", 1)
    monkeypatch.setattr(planned_inputs, "BUNDLE_FILES", 3)
    (tmp_path / "many").mkdir()
    for number in range(9):
        write_rows(f"many/{number}.jsonl", [chat(f"{number}?", f"{number}.")])
    result = prepare(make_config("many"))
    [planned] = result.plan.datasets
    assert 1 < len(planned.bundles) < 9
    for sequence in sequences(result, load_tokenizer(result.plan.config.tokenizer), Wanted()):
        assert trained(sequence["chunks"]) == f"{Path(sequence['file']).stem}.<|im_end|>"


def test_sequences_shorter_than_what_is_compared_are_found(
    write_rows: Callable, chat: Callable, make_config: Callable[..., DataPrepConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows("a.jsonl", [chat("One?", "1."), chat("Two?", "2.", "Sure?", "Yes.")])
    result = prepare(make_config("a.jsonl"))
    monkeypatch.setattr(origins, "COMPARED", 1000)
    found = sequences(result, load_tokenizer(result.plan.config.tokenizer), Wanted())
    assert max(one["tokens"] for one in found) < 1000
    assert sorted((one["dataset"], one["line"]) for one in found) == [("a", 1), ("a", 2)]


def test_only_wanted_sequences_are_shown(result: PrepResult, tokenizer: Tokenizer) -> None:
    assert [s["dataset"] for s in sequences(result, tokenizer, Wanted(grep="Four?"))] == ["b"]
    assert [describe_origin(s) for s in sequences(result, tokenizer, Wanted(line=3))] == ["a a.jsonl:3"]


@pytest.mark.parametrize("inside", ["", "splits", "splits/train", "splits/train/shard_000000.parquet"])
def test_packs_are_found_from_the_output_folder_to_a_shard(
    inside: str, result: PrepResult, tokenizer: Tokenizer
) -> None:
    assert len(sequences(result, tokenizer, Wanted(), result.plan.output_dir / inside)) == 4


def test_tokens_have_ids_and_text(result: PrepResult, tokenizer: Tokenizer) -> None:
    packed = find_packed(result.plan.output_dir)
    assert packed is not None
    [pack, *_] = inspect_packs(packed, tokenizer, pieces=True)
    for chunk in pack["sequences"][0]["chunks"]:
        assert (
            tokenizer.decoder.decode([token for token, _ in chunk["pieces"]], skip_special_tokens=False)
            == (chunk["text"])
        )
        assert len(chunk["pieces"]) == chunk["tokens"]


def test_a_pack_says_where_it_is(result: PrepResult, tokenizer: Tokenizer, tmp_path: Path) -> None:
    shard = result.splits_dir / "train/shard_000000.parquet"
    whole = [len(row["input_ids"]) for row in pq.read_table(shard).to_pylist()]
    shutil.copy(shard, tmp_path / "copy.parquet")
    pq.write_table(pa.table({"messages": [json.dumps([])]}), tmp_path / "rows.parquet")  # no shard
    for path, split, name in ((shard, "train", shard.name), (tmp_path, None, "copy.parquet")):
        packed = find_packed(path)
        assert packed is not None
        packs = [*inspect_packs(packed, tokenizer)]
        assert [(pack["split"], pack["shard"], pack["pack"], pack["tokens"]) for pack in packs] == [
            (split, name, number, tokens) for number, tokens in enumerate(whole)
        ]


def test_a_shard_from_elsewhere_has_no_rows_to_name(result: PrepResult, tokenizer: Tokenizer, tmp_path: Path) -> None:
    shard = tmp_path / "elsewhere.parquet"
    shutil.copy(result.splits_dir / "train/shard_000000.parquet", shard)
    found = sequences(result, tokenizer, Wanted(), shard)
    assert {(s["dataset"], s["line"]) for s in found} == {(None, None)}
    assert describe_origin(found[0]) == "a sequence"
    assert "<|im_end|>" in trained(found[0]["chunks"])


def test_a_shard_that_cannot_be_read_is_named_among_others(result: PrepResult, tokenizer: Tokenizer) -> None:
    shard = result.splits_dir / "train/shard_000000.parquet"
    shutil.copy(shard, shard.with_name("shard_000001.parquet"))
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(UserError, match=r"shard_000000\.parquet cannot be read"):
        sequences(result, tokenizer, Wanted())


def test_a_damaged_index_has_no_rows_to_name(result: PrepResult, tokenizer: Tokenizer) -> None:
    for index in result.plan.output_dir.rglob("part_*.index"):
        index.write_bytes(bytes(index.stat().st_size))
    assert {one["dataset"] for one in sequences(result, tokenizer, Wanted())} == {None}


def test_chat_data_in_parquet_is_not_packed(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"messages": [json.dumps([])]}), rows)
    assert find_packed(rows) is None


def test_a_damaged_shard_is_named(result: PrepResult, tokenizer: Tokenizer, tmp_path: Path) -> None:
    shard = tmp_path / "damaged.parquet"
    content = bytearray((result.splits_dir / "train/shard_000000.parquet").read_bytes())
    content[40:60] = bytes(20)
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.parquet"):
        sequences(result, tokenizer, Wanted(), shard)
