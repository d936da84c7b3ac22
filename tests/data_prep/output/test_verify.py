"""Verification: a finished run passes, and every kind of damage is named with its file."""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.output.verify import _check_pack, verify
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.errors import UserError


@pytest.fixture
def result(make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable) -> PrepResult:
    write_rows("chat.jsonl", [*(chat(f"Question {i}", "Answer " * (i % 9 + 1)) for i in range(40)), {}])
    return prepare(make_config("chat.jsonl"))


def test_a_finished_run_is_as_it_was_written(result: PrepResult) -> None:
    assert list(verify(result.plan.output_dir)) == []


def the_shard(result: PrepResult) -> Path:
    return next((result.plan.run_dir / "splits" / "train").glob("*.parquet"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("pattern", ["runs/*/splits/train/*.parquet", "tokens/*/*/*.tokens", "tokens/*/*/*.mask"])
def test_a_flipped_bit_is_found(result: PrepResult, pattern: str) -> None:
    [path] = result.plan.output_dir.glob(pattern)
    flip_a_byte(path)
    [problem] = [found for found in verify(result.plan.output_dir) if "checksum" in found]
    assert Path(problem.split(" has another checksum")[0]).samefile(path)


def test_a_missing_a_foreign_and_an_unlinked_file_are_found(result: PrepResult) -> None:
    shard = the_shard(result)
    shard.rename(shard.with_name("shard_000009.parquet"))
    (result.plan.output_dir / "splits").unlink()
    problems = "\n".join(verify(result.plan.output_dir))
    assert f"{shard} is missing." in problems
    assert "shard_000009.parquet is not of this run." in problems
    assert "does not lead to the run" in problems


def test_counts_that_do_not_add_up_are_found(result: PrepResult) -> None:
    path = result.plan.output_dir / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["datasets"][0]["rows"] += 1
    metadata["datasets"][0]["dropped"]["bad_role"] = 2
    metadata["splits"][0]["supervised_tokens"] -= 1
    path.write_text(json.dumps(metadata))
    problems = "\n".join(verify(result.plan.output_dir))
    assert "Dataset chat: 42 rows" in problems
    assert "lists 1 rows, metadata.json counts 3" in problems
    assert "do not add up to the counts" in problems


@pytest.mark.parametrize(
    "pattern",
    [
        *("blend.json", "metadata.json", "report.html", "runs/*/plan.json", "runs/*/config.yaml"),
        *("runs/*/metadata.json", "runs/*/dropped.jsonl.zst", "runs/*/checksums.json", "runs/*/splits/artifact.json"),
    ],
)
def test_every_file_beside_the_data_is_checked(result: PrepResult, pattern: str) -> None:
    [path] = result.plan.output_dir.glob(pattern)
    content = path.read_bytes()
    path.unlink()
    if pattern != "metadata.json":  # without it there is no finished run
        assert any(path.name in problem for problem in verify(result.plan.output_dir))
    path.write_bytes(content.replace(b"chat", b"cath").replace(b'": "', b'": "0') + b"\n ")
    with contextlib.suppress(UserError):
        assert any(path.name in problem for problem in verify(result.plan.output_dir))


def test_a_lost_link_to_tokens_is_found(result: PrepResult) -> None:
    [link] = (result.plan.run_dir / "datasets" / "chat").iterdir()
    link.unlink()
    [problem] = verify(result.plan.output_dir)
    assert problem == f"{link} leads nowhere: the tokenized parts are gone."


def test_a_moved_folder_is_told_and_recorded_anew_by_the_same_command(result: PrepResult, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    result.plan.output_dir.rename(moved)
    assert all("if the folder was moved" in problem for problem in verify(moved))
    config = dataclasses.replace(result.plan.config, output_dir=str(moved))
    assert prepare(config).unchanged
    assert list(verify(moved)) == []


@pytest.mark.parametrize(
    ("ids", "mask", "starts", "problem"),
    [
        ([1, 2, 3, 4], [1, 0, 1, 0], [0, 2], None),
        ([1, 2, 3, 4], [1, 1, 1, 0], [0, 2], "not rolled"),
        ([1, 2, 3, 4], [1, 0, 1, 1], [0, 2], "not rolled"),
        ([1, 2, 3, 4], [2, 0, 1, 0], [0, 2], "a mask value is 2"),
        ([1, 2, 3, 4], [1, 0, 1], [0, 2], "3 mask values"),
        ([1, 2, 3, 4], [1, 0, 1, 0], [1, 2], "begin at 0"),
        ([1, 2, 3, 4], [1, 0, 1, 0], [0, 4], "begin at 0"),
        ([1, 2, 3, 4], [1, 0, 1, 0], [0, 2, 2], "begin at 0"),
        ([1, 2, 3, 999], [1, 0, 1, 0], [0, 2], "outside the vocabulary"),
        ([1] * 257, [0] * 257, [0], "257 tokens"),
    ],
)
def test_what_a_pack_promises(
    result: PrepResult, ids: list[int], mask: list[int], starts: list[int], problem: str | None
) -> None:
    arrays = np.array(ids, np.int32), np.array(mask, np.uint8), np.array(starts, np.int32)
    found = "\n".join(_check_pack(*arrays, result.metadata))
    assert problem in found if problem else not found


def test_a_rewritten_shard_is_not_the_one_of_the_receipt(result: PrepResult) -> None:
    shard = the_shard(result)
    pq.write_table(pq.read_table(shard).slice(1), shard)
    assert any("does not tell the same" in problem for problem in verify(result.plan.output_dir))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no finished run"):
        list(verify(tmp_path))


def test_what_another_release_prepared_is_not_called_damaged(result: PrepResult) -> None:
    path = result.plan.output_dir / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 5}))
    with pytest.raises(UserError, match="of another version"):
        list(verify(result.plan.output_dir))
