"""metadata.json: counts that add up, read back as they were written."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.data_prep.small_run import make_config_in, write_rows_in

from nemotron.data_prep.drop_reasons import DropReason, LeftOut, describe
from nemotron.data_prep.output.metadata import ModeStats, read_metadata
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.tokenize_inputs import InputTokenizer


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Path, chat: Callable[..., Any]) -> PrepResult:
    """Two weighted datasets with duplicates, broken and over-long rows, over three splits."""
    folder = tmp_path_factory.mktemp("run")
    rows = [chat(f"Question {i}?", "word " * (i % 60)) for i in range(200)]
    write_rows_in(folder, "a.jsonl", [*rows, rows[0], {"messages": 1}])
    write_rows_in(folder, "b.jsonl", [chat(f"Frage {i}?", "Wort") for i in range(120)])
    blend = {"datasets": [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl", "weight": 1}]}
    ratios = {"train_ratio": 0.8, "valid_ratio": 0.1, "test_ratio": 0.1}
    return prepare(make_config_in(folder, byte_tokenizer, blend=blend, **ratios))


def test_every_count_adds_up(result: PrepResult) -> None:
    metadata = result.metadata
    for dataset in metadata.datasets:
        assert dataset.rows == dataset.kept + sum(dataset.dropped.values())
    for total in ("sequences", "tokens", "supervised_tokens"):
        per_split = sum(getattr(split, total) for split in metadata.splits)
        assert per_split == sum(getattr(dataset, total) for dataset in metadata.datasets)
    assert sum(split.conversations for split in metadata.splits) == metadata.conversations
    assert sum(dataset.conversation_share for dataset in metadata.datasets) == pytest.approx(1)
    assert [dataset.conversation_share for dataset in metadata.datasets] == pytest.approx([0.5, 0.5])


def test_a_run_small_enough_to_count_by_hand(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    """A byte is a token, so that a system turn has 10, a user's turn 8 more than its text, and an answer 15 more.

    In a: 38 and 36 tokens, of the second without the newline after the answer that fits. In b, used twice: 37.
    """
    fits, cut = chat("Hi", "yes"), chat("Hi", "a", "Hi", "w" * 200)
    a = write_rows("a.jsonl", [fits, fits, cut, {"messages": 1}, {"messages": 2}, chat("Hi", "w" * 300)])
    b = write_rows("b.jsonl", [chat("B", "bee")])
    blend = {"datasets": [{"path": "a.jsonl", "weight": 3}, {"path": "b.jsonl", "weight": 3, "repeat": True}]}
    config = make_config(blend=blend, pad_to_multiple=4, pack_size=128, dedupe=True, seed=7, config_name="mine")
    metadata = prepare(config).metadata
    first, second = metadata.datasets
    assert {name: value for name, value in asdict(first).items() if name not in ("roles", "modes", "fill")} == {
        "name": "a", "goes_to": None, "weight": 3, "files": 1, "bytes": a.stat().st_size, "rows": 6, "kept": 2,
        "repeated": 0, "dropped": {"no_messages": 2, "duplicate": 1, "overlong": 1}, "duplicates": 1, "notes": [],
        "truncated": 1, "masked_sequences": 0, "sequences": 2, "tokens": 73, "supervised_tokens": 6, "asked": 0.5,
        "got": 0.5, "conversation_share": 0.5, "share_of_supervised": 6 / 14, "checks": [],
    }  # fmt: skip
    assert first.modes == [ModeStats("no_reasoning", 2, 2, 6, asked=None, got=None)]
    assert list(first.dropped) == ["no_messages", "duplicate", "overlong"]
    assert (second.bytes, second.rows, second.kept, second.repeated) == (b.stat().st_size, 1, 1, 1)
    assert (second.sequences, second.tokens, second.supervised_tokens) == (2, 74, 8)
    [split] = metadata.splits
    assert {name: value for name, value in asdict(split).items() if name != "shards"} == {
        "name": "train", "path": "splits/train", "conversations": 4, "sequences": 4, "packs": 2, "tokens": 147,
        "padding": 5, "supervised_tokens": 14, "fill": 152 / 256,
    }  # fmt: skip
    assert asdict(metadata.overlong) == {
        "policy": "split_turns", "limit": 125, "truncated": 1, "dropped": 1,
        "lost_supervised_share": pytest.approx(1 - 10 / (4 + 2 + 201 + 301 + 4)),
        "pack_size_for_99_percent": 337,  # an answer ends at 334, and 333 are padded to 336
    }  # fmt: skip
    assert set(metadata.tokenizer) == {"model", "revision", "digest", "vocab_size", "eos_id"}
    assert (metadata.tokenizer["vocab_size"], metadata.tokenizer["eos_id"]) == (260, 257)
    assert (metadata.chat_template["name"], len(metadata.chat_template["digest"])) == ("nemotron3", 32)
    assert metadata.low_effort == {"asked": 0, "got": 0}
    settings = ("config_name", "pack_size", "pad_to_multiple", "algorithm", "seed", "special_tokens_in_content")
    assert [getattr(metadata, name) for name in settings] == [getattr(config, name) for name in settings]


def test_what_is_used_again_counts_again(result: PrepResult) -> None:
    datasets = [replace(dataset, kept=10, repeated=3) for dataset in result.metadata.datasets]
    assert replace(result.metadata, datasets=datasets).conversations == 2 * 13


def test_the_counts_are_those_of_the_files(result: PrepResult) -> None:
    for split in result.metadata.splits:
        table = pq.read_table(result.splits_dir.parent / split.path)
        assert split.packs == table.num_rows
        assert split.tokens == sum(len(ids) for ids in table["input_ids"].to_pylist())
        assert split.sequences == sum(len(starts) for starts in table["seq_start_id"].to_pylist())
        assert split.supervised_tokens == sum(sum(mask) for mask in table["loss_mask"].to_pylist())
        assert split.fill == pytest.approx(split.tokens / (split.packs * 256))


def test_the_artifact_says_what_a_consumer_needs(result: PrepResult) -> None:
    facts, metadata = result.artifact.metadata, result.metadata
    same = ("run_hash", "pack_size", "pad_to_multiple", "tokens", "supervised_tokens", "conversations", "tokenizer")
    assert {name: facts[name] for name in same} == {name: getattr(metadata, name) for name in same}
    assert (facts["rows"], facts["vocab_size"]) == (202 + 120, metadata.tokenizer["vocab_size"])
    assert facts["rows"] == sum(dataset.kept for dataset in metadata.datasets) + sum(facts["dropped"].values())
    assert facts["dropped"]["no_messages"] == 1
    assert facts["truncated"] == metadata.overlong.truncated
    assert facts["packs"] == {split.name: split.packs for split in metadata.splits}
    assert (facts["chat_template"], facts["blend"]) == (metadata.chat_template, metadata.blend)
    assert Path(facts["metadata"]) == result.plan.run_dir / "metadata.json"


def test_the_output_folder_shows_the_metadata_of_the_run(result: PrepResult) -> None:
    assert read_metadata(result.splits_dir.parent / "metadata.json") == result.metadata


def test_metadata_of_another_format_is_not_taken_for_ours(tmp_path: Path) -> None:
    for content in (
        "",
        "{}",
        "[]",
        '{"totals": 1, "format_version": 1}',
        '{"totals": {}, "splits": [{"name": "train"}]}',
    ):
        (tmp_path / "metadata.json").write_text(content)
        assert read_metadata(tmp_path / "metadata.json") is None


def test_a_row_that_is_not_accounted_for_stops_the_run(
    make_config: Callable[..., Any],
    write_rows: Callable[..., Path],
    chat: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    tokenize = InputTokenizer.tokenize

    def lose_a_row(*arguments: Any) -> Any:
        return [[replace(receipt, rows=receipt.rows + 1) for receipt in part] for part in tokenize(*arguments)]

    monkeypatch.setattr(InputTokenizer, "tokenize", lose_a_row)
    with pytest.raises(RuntimeError, match=r"chat: 2 .*1 .*0 "):
        prepare(make_config("chat.jsonl"))
    assert not (tmp_path / "out" / "splits").exists()


def test_a_dataset_of_a_split_is_shown_with_it(result: PrepResult) -> None:
    dataset = result.metadata.datasets[0]
    assert replace(dataset, goes_to=None).title == "a"
    assert replace(dataset, goes_to="valid").title == "a (valid)"


def test_every_reason_has_a_description() -> None:
    assert all(describe(reason) for reason in [*DropReason, *LeftOut])
    assert not set(map(str, DropReason)) & set(map(str, LeftOut))


def test_lengths_are_described_as_numpy_would(result: PrepResult) -> None:
    lengths = [
        length
        for path in result.splits_dir.glob("*/*.parquet")
        for row in pq.read_table(path).to_pylist()
        for length in np.diff([*row["seq_start_id"], len(row["input_ids"])])
    ]
    shares = {"min": 0, "p10": 10, "median": 50, "p90": 90, "p99": 99, "max": 100}
    expected = {name: int(np.percentile(lengths, share)) for name, share in shares.items()}
    assert result.metadata.sequence_lengths == expected
    assert len(set(expected.values())) > 3  # lengths differ, so that one quantile is not taken for another


def test_the_file_has_no_secrets(result: PrepResult) -> None:
    tokenizer = {**result.metadata.tokenizer, "model": "s3://KEY:SECRET@bucket/x"}
    written = replace(result.metadata, tokenizer=tokenizer).to_dict()
    assert written["tokenizer"]["model"] == "s3://***@bucket/x"


def test_the_file_has_the_totals_of_all_splits(result: PrepResult) -> None:
    metadata = result.metadata
    written = json.loads((result.plan.run_dir / "metadata.json").read_text())
    names = ("conversations", "tokens", "padding", "supervised_tokens")
    assert written["totals"] == {name: getattr(metadata, name) for name in names}
    assert metadata.tokens == sum(split.tokens for split in metadata.splits)


@pytest.mark.parametrize(("names", "expected"), [(["train"], True), (["train", "valid"], True), (["valid"], False)])
def test_there_is_something_to_train_on_where_one_of_the_splits_is_that(
    result: PrepResult, names: list[str], expected: bool
) -> None:
    splits = [replace(result.metadata.splits[0], name=name) for name in names]
    assert replace(result, metadata=replace(result.metadata, splits=splits)).has_training_split is expected
