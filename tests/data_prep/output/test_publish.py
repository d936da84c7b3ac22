"""Under which name prepared data is found, and what stands beside it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.data_prep.report.counted_run import dataset, metadata, split
from tests.data_prep.small_run import make_config_in, write_rows_in

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.output.publish import artifact_name, megatron_blend, name_content
from nemotron.data_prep.packing.shards import ShardReceipt
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.lineage import resolve


def test_a_sample_is_not_what_training_finds_by_default() -> None:
    assert artifact_name(DataPrepConfig()) == "SFTDataArtifact-sft"
    assert artifact_name(DataPrepConfig(sample=5)) == "SFTDataArtifact-sft-sample"


def test_megatron_reads_weights_and_paths_without_suffix() -> None:
    def shard(name: str, packs: int) -> ShardReceipt:
        return ShardReceipt(f"{name}.parquet", packs, 0, 0, 0, "sha256:0")

    shards = [shard("train_0", 3), shard("train_1", 2)]
    counted = metadata(
        dataset("a", goes_to="valid", weight=2.0, conversation_share=0.25, share_of_supervised=0.5),
        splits=[split("train", path="train", shards=shards), split("valid", path="held", shards=[shard("v", 1)])],
    )
    assert megatron_blend(Path("/run"), counted) == {
        "train": [3.0, "/run/train/train_0", 2.0, "/run/train/train_1"],
        "valid": [1.0, "/run/held/v"],
        "datasets": [
            {
                "name": "a", "split": "valid", "weight": 2.0, "conversations": 95, "conversation_share": 0.25,
                "supervised_tokens": 300, "share_of_supervised": 0.5,
            }
        ],
    }  # fmt: skip


def test_content_is_named_by_its_lines() -> None:
    assert name_content(["a 1", "b 2"]) == f"sha256:{hashlib.sha256(b'a 1\nb 2\n').hexdigest()}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def result(folder: Path, byte_tokenizer: Path, chat: Callable[..., Any]) -> PrepResult:
    write_rows_in(folder, "a.jsonl", [chat("Hi", "Hello"), chat("Hi", "Hello"), {"messages": 1}])
    write_rows_in(folder, "b.jsonl", [chat("Yes?", "No"), {"messages": 2}])
    return prepare(make_config_in(folder, byte_tokenizer, "a.jsonl", "b.jsonl", config_name="mine", dedupe=True))


def test_the_output_folder_shows_one_run(result: PrepResult, folder: Path) -> None:
    output, run = folder / "out", result.plan.run_dir
    assert (output / "splits").resolve() == run / "splits"
    assert json.loads((output / "blend.json").read_text()) == megatron_blend(run, result.metadata)
    assert json.loads((output / "metadata.json").read_text()) == result.metadata.to_dict()
    assert (output / "report.html").read_text().startswith("<!doctype html>")
    for planned in result.plan.datasets:
        [tokens] = planned.folders
        assert (run / "datasets" / planned.dataset.name / tokens.name).resolve() == tokens.resolve()


def test_the_artifact_says_what_a_reader_needs_without_opening_files(result: PrepResult, folder: Path) -> None:
    found, counted = resolve("SFTDataArtifact-sft:mine", folder / "artifacts"), result.metadata
    assert (Path(found.path), found.type) == (result.plan.run_dir / "splits", "dataset")
    assert found.metadata == {
        "run_hash": counted.run_hash, "pack_size": 256, "pad_to_multiple": 1, "tokens": counted.tokens,
        "supervised_tokens": counted.supervised_tokens, "conversations": 2, "rows": 5,
        "dropped": {"no_messages": 2, "duplicate": 1}, "truncated": 0, "packs": {"train": 1},
        "tokenizer": counted.tokenizer, "vocab_size": counted.tokenizer["vocab_size"],
        "chat_template": counted.chat_template, "blend": counted.blend,
        "metadata": str(result.plan.run_dir / "metadata.json"),
    }  # fmt: skip
    assert found.config["config_name"] == "mine"


def test_the_artifact_names_what_it_was_made_from_and_what_it_holds(result: PrepResult, folder: Path) -> None:
    found, planned = resolve("SFTDataArtifact-sft:mine", folder / "artifacts"), result.plan.datasets
    assert found.inputs == [one.dataset.path for one in planned]
    assert found.input_digests == {
        one.dataset.path: name_content(f"{Path(file.file.path).name} {file.file.digest}" for file in one.files)
        for one in planned
    }
    shards = [
        f"{split.path}/{shard.file} {shard.checksum}" for split in result.metadata.splits for shard in split.shards
    ]
    assert len(shards) == 1
    assert found.digest == name_content(shards)
