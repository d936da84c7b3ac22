"""Verification: a finished run passes, and every kind of damage is named with its file."""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tests.data_prep.small_run import make_config_in, write_rows_in

from nemotron.data_prep.output import verify as verify_room
from nemotron.data_prep.output.finished import read_finished
from nemotron.data_prep.output.verify import _check_conversations, _check_pack, _check_shard, _verify_split, verify
from nemotron.data_prep.packing.shards import SCHEMA
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.errors import UserError
from nemotron.files.atomic_files import checksum, write_checksums, write_json
from nemotron.files.folder_lock import Holder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Path, chat: Callable) -> PrepResult:
    folder = tmp_path_factory.mktemp("verified")
    write_rows_in(folder, "chat.jsonl", [*(chat(f"Question {i}", "Answer " * (i % 9 + 1)) for i in range(40)), {}])
    result = prepare(make_config_in(folder, byte_tokenizer, "chat.jsonl"))
    shutil.copytree(folder / "out", folder / "whole", symlinks=True)
    return result


@pytest.fixture
def result(prepared: PrepResult) -> Iterator[PrepResult]:
    """A finished run to damage, which is whole again for the next test."""
    yield prepared
    out = prepared.plan.output_dir
    shutil.rmtree(out, ignore_errors=True)  # a test may have moved it
    shutil.copytree(out.with_name("whole"), out, symlinks=True)


def test_a_run_that_is_being_written_is_not_judged(result: PrepResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_room, "find_holder", lambda folder: Holder("token", "node-7", 41, "now"))
    with pytest.raises(UserError, match="written by process 41 on node-7"):
        list(verify(result.plan.output_dir))


@pytest.mark.parametrize("first_or_last", ["runs/*/plan.json", "metadata.json"])
def test_a_run_that_is_written_while_it_is_verified_is_not_called_damaged(
    result: PrepResult, first_or_last: str
) -> None:
    the_shard(result).unlink()
    [file] = result.plan.output_dir.glob(first_or_last)
    problems = verify(result.plan.output_dir)
    next(problems)  # of the shard, where nobody writes
    written = file.stat().st_mtime_ns
    os.utime(file, ns=(written + 1, written + 1))  # data prep --force began again, or ended
    with pytest.raises(UserError, match="written while it was verified"):
        next(problems)


def test_a_run_that_begins_while_it_is_verified_ends_that(result: PrepResult, monkeypatch: pytest.MonkeyPatch) -> None:
    the_shard(result).unlink()
    problems = verify(result.plan.output_dir)
    next(problems)
    monkeypatch.setattr(verify_room, "find_holder", lambda folder: Holder("token", "node-7", 41, "now"))
    with pytest.raises(UserError, match="written by process 41 on node-7"):
        next(problems)


def test_a_finished_run_is_as_it_was_written(result: PrepResult) -> None:
    assert list(verify(result.plan.output_dir)) == []


def the_shard(result: PrepResult) -> Path:
    return next((result.plan.run_dir / "splits" / "train").glob("*.parquet"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("pattern", ["runs/*/splits/train/*.parquet", "tokens/*/*/*.tokens", "tokens/*/*/*.index"])
def test_a_flipped_bit_is_found(result: PrepResult, pattern: str) -> None:
    [path] = result.plan.output_dir.glob(pattern)
    flip_a_byte(path)
    [problem] = [found for found in verify(result.plan.output_dir) if "checksum" in found]
    assert Path(problem.split(" does not match")[0]).samefile(path)


def test_a_page_that_changed_is_found_though_every_checksum_of_files_was_made_to_fit(result: PrepResult) -> None:
    """As when a copy goes wrong before its checksum is taken."""
    shard = the_shard(result)
    content = bytearray(shard.read_bytes())
    content[60] ^= 1  # in the first page
    shard.write_bytes(content)
    problems, *_ = _check_shard(shard, result.metadata)
    assert problems


def test_a_missing_a_foreign_and_an_unlinked_file_are_found(result: PrepResult) -> None:
    shard = the_shard(result)
    shard.rename(shard.with_name("shard_000009.parquet"))
    (result.plan.output_dir / "splits").unlink()
    problems = "\n".join(verify(result.plan.output_dir))
    assert str(shard) in problems
    assert "shard_000009.parquet" in problems
    assert str(result.plan.output_dir / "splits") in problems


@pytest.mark.parametrize("listed", [[], [{"line": 41}, {"line": 41}]])
def test_dropped_rows_that_are_not_those_counted_are_found(result: PrepResult, listed: list[dict]) -> None:
    """One row was dropped: none listed is too few, two are too many."""
    path = result.plan.run_dir / "dropped.jsonl.zst"
    path.write_bytes(zstandard.compress(b"".join(json.dumps(row).encode() + b"\n" for row in listed)))
    write_checksums(result.plan.run_dir)
    [problem] = verify(result.plan.output_dir)
    assert re.search(rf"\b{len(listed)} rows, .*\b1\b", problem)


def test_a_target_after_eos_is_not_counted_as_trained(result: PrepResult) -> None:
    """The trainer's collator takes the loss away wherever the input is eos, whatever the mask says."""
    eos = result.metadata.tokenizer["eos_id"]
    table = pa.table([[[7, eos, 8, 9]], [[1, 1, 1, 0]], [[0]], [[4]]], schema=SCHEMA)
    pq.write_table(table, result.plan.run_dir / "by_hand.parquet")
    problems, [packs, sequences, tokens, supervised], shares = _check_shard(
        result.plan.run_dir / "by_hand.parquet", result.metadata
    )
    assert problems == []
    assert (packs, sequences, tokens, supervised, shares) == (1, 1, 4, 2, 0.5)


def test_problems_name_their_pack_whose_conversations_do_not_count(result: PrepResult, tmp_path: Path) -> None:
    """Three row groups: a pack that is right, one whose mask is not rolled, and one that trains more than it may."""
    masks, wholes = [[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]], [[4], [4], [2]]
    table = pa.table([[[5, 6, 7, 8]] * 3, masks, [[0]] * 3, wholes], schema=SCHEMA)
    pq.write_table(table, tmp_path / "by_hand.parquet", row_group_size=1)
    problems, counts, shares = _check_shard(tmp_path / "by_hand.parquet", result.metadata)
    assert [problem.split(" ", 3)[:3] for problem in problems] == [["pack", "1:", "the"], ["pack", "2:", "sequences"]]
    assert (counts, shares) == ([3, 3, 12, 3 + 4 + 3], 3 / 4)
    pq.write_table(pa.concat_tables([table] * 6), tmp_path / "by_hand.parquet")
    assert len(_check_shard(tmp_path / "by_hand.parquet", result.metadata)[0]) == 10


def test_counts_that_do_not_add_up_are_found(result: PrepResult) -> None:
    path = result.plan.output_dir / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["datasets"][0]["rows"] += 1
    metadata["datasets"][0]["dropped"]["bad_role"] = 2
    metadata["splits"][0]["supervised_tokens"] -= 1
    path.write_text(json.dumps(metadata))
    problems = "\n".join(verify(result.plan.output_dir))
    assert "chat has 42 rows" in problems
    assert re.search(r"\b1 rows, .*\b3\b", problems)
    assert "The shards of train do not add up" in problems
    assert f"{path} is not that of the run, {result.plan.run_dir / 'metadata.json'}." in problems


def test_a_run_may_have_got_another_name_since_and_be_looked_at_through_a_link(
    result: PrepResult, tmp_path: Path
) -> None:
    prepare(dataclasses.replace(result.plan.config, config_name="other"))
    (tmp_path / "link").symlink_to(result.plan.output_dir)
    assert list(verify(tmp_path / "link")) == []


def test_a_conversation_that_counts_half_is_found(result: PrepResult) -> None:
    """The loss per conversation divides by these counts: one that is double makes its conversation half as heavy."""
    shard, [split] = the_shard(result), result.metadata.splits
    targets = pq.read_table(shard).column("conversation_targets").to_pylist()
    targets[0][0] *= 2
    table = pq.read_table(shard)
    column = pa.array(targets, table.schema.field("conversation_targets").type)
    place = table.schema.get_field_index("conversation_targets")
    pq.write_table(table.set_column(place, table.schema.field(place), column), shard)
    [made] = split.shards
    changed = dataclasses.replace(made, bytes=shard.stat().st_size, checksum=checksum(shard))
    write_json(result.plan.run_dir / "receipts" / "train" / f"{shard.stem}.json", changed)
    found = _verify_split(result.plan.run_dir, dataclasses.replace(split, shards=[changed]), result.metadata)
    assert list(found) == ["By conversation_targets train has 39.50 conversations, not 40."]


FILES_NEXT_TO_THE_DATA = [
    *("blend.json", "metadata.json", "report.html", "runs/*/plan.json", "runs/*/config.yaml"),
    *("runs/*/metadata.json", "runs/*/dropped.jsonl.zst", "runs/*/checksums.json", "runs/*/splits/artifact.json"),
]


@pytest.mark.parametrize("pattern", FILES_NEXT_TO_THE_DATA)
def test_a_missing_file_next_to_the_data_is_named(result: PrepResult, pattern: str) -> None:
    [path] = result.plan.output_dir.glob(pattern)
    path.unlink()
    if pattern == "metadata.json":
        with pytest.raises(UserError, match=r"metadata\.json"):
            list(verify(result.plan.output_dir))
    else:
        assert any(path.name in problem for problem in verify(result.plan.output_dir))


@pytest.mark.parametrize("pattern", sorted({*FILES_NEXT_TO_THE_DATA} - {"report.html"}))
def test_a_changed_file_next_to_the_data_is_named(result: PrepResult, pattern: str) -> None:
    [path] = result.plan.output_dir.glob(pattern)
    content = path.read_bytes()
    changed = content.replace(b"chat", b"cath").replace(b'": "', b'": "0') + b"\n "
    assert changed[:-2] != content or pattern.endswith((".yaml", ".zst"))
    path.write_bytes(changed)
    assert any(path.name in problem for problem in problems_of(result))


def problems_of(result: PrepResult) -> list[str]:
    """What is wrong, where verification can begin at all and where it cannot."""
    try:
        return list(verify(result.plan.output_dir))
    except UserError as error:
        return [error.message]


def test_a_report_that_somebody_edited_is_nothing_wrong(result: PrepResult) -> None:
    """People annotate it, and another release words it differently: nothing is trained on it."""
    report = result.plan.output_dir / "report.html"
    report.write_text(report.read_text("utf-8").replace("<h1>", "<h1>Ours: "), "utf-8")
    assert list(verify(result.plan.output_dir)) == []


def test_a_lost_link_to_tokens_is_found(result: PrepResult) -> None:
    [link] = (result.plan.run_dir / "datasets" / "chat").iterdir()
    link.unlink()
    [problem] = verify(result.plan.output_dir)
    assert problem.startswith(str(link))


def test_a_moved_folder_is_reported_and_recorded_again_by_the_same_command(result: PrepResult, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    result.plan.output_dir.rename(moved)
    problems = list(verify(moved))
    assert all("moved" in problem for problem in problems)
    assert any(f"{moved / 'runs' / result.plan.run_hash / 'splits/artifact.json'} records" in each for each in problems)
    config = dataclasses.replace(result.plan.config, output_dir=str(moved))
    assert prepare(config).unchanged
    assert list(verify(moved)) == []


@pytest.mark.parametrize(
    ("ids", "mask", "starts", "problem"),
    [
        ([1, 2, 3, 4], [1, 0, 1, 0], [0, 2], None),
        ([1, 2, 3, 4], [1, 1, 1, 0], [0, 2], "not rolled"),
        ([1, 2, 3, 4], [1, 0, 1, 1], [0, 2], "not rolled"),
        ([1, 2, 3, 4], [2, 0, 1, 0], [0, 2], "mask value"),
        ([1, 2, 3, 4], [1, 0, 1], [0, 2], "3 mask values"),
        ([1, 2, 3, 4], [1, 0, 1, 0], [], "increase from 0"),
        ([1, 2, 3, 4], [1, 0, 1, 0], [1, 2], "increase from 0"),
        ([1, 2, 3, 4], [1, 0, 1, 0], [0, 4], "increase from 0"),
        ([1, 2, 3, 4], [1, 0, 1, 0], [0, 2, 2], "increase from 0"),
        ([1, 2, 3, 999], [1, 0, 1, 0], [0, 2], "vocabulary"),
        ([1, 2, 3, -1], [1, 0, 1, 0], [0, 2], "vocabulary"),
        ([], [], [], "it has 0 tokens"),
        ([1], [0], [0], None),
        ([0, 1, 2], [0, 1, 0], [0, 1], None),
        ([1] * 256, [0] * 256, [0], None),
        ([1] * 257, [0] * 257, [0], "257 tokens"),
    ],
)
def test_what_a_pack_promises(
    result: PrepResult, ids: list[int], mask: list[int], starts: list[int], problem: str | None
) -> None:
    arrays = np.array(ids, np.int32), np.array(mask, np.uint8), np.array(starts, np.int32)
    found = "\n".join(_check_pack(*arrays, result.metadata))
    assert problem in found if problem else not found


def test_the_largest_id_is_one_below_the_size_of_the_vocabulary(result: PrepResult) -> None:
    def problems(token: int) -> list[str]:
        ids, mask, starts = np.array([1, token], np.int32), np.array([1, 0], np.uint8), np.array([0], np.int32)
        return list(_check_pack(ids, mask, starts, result.metadata))

    size = result.metadata.tokenizer["vocab_size"]
    assert problems(size - 1) == []
    assert "vocabulary" in problems(size)[0]


def test_a_rewritten_shard_is_not_the_one_of_the_receipt(result: PrepResult) -> None:
    shard = the_shard(result)
    pq.write_table(pq.read_table(shard).slice(1), shard)
    assert any("receipt" in problem for problem in verify(result.plan.output_dir))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        list(verify(tmp_path))


def test_what_another_release_prepared_is_not_called_damaged(result: PrepResult) -> None:
    path = result.plan.output_dir / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 5}))
    with pytest.raises(UserError, match="version"):
        list(verify(result.plan.output_dir))


@pytest.mark.parametrize("suffix", ["tokens", "roles"])
def test_a_tokenized_part_that_was_cut_short_or_lost_a_file_is_found(result: PrepResult, suffix: str) -> None:
    [path] = result.plan.output_dir.glob(f"tokens/*/*/*.{suffix}")
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        [problem] = [found for found in verify(result.plan.output_dir) if "tokenized part" in found]
        assert str(path.with_suffix("").name) in problem
        path.unlink(missing_ok=True)


def test_a_shard_of_other_columns_is_no_shard(result: PrepResult, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(the_shard(result)).drop_columns(["loss_mask"]), tmp_path / "shard.parquet")
    [problem], counts, shares = _check_shard(tmp_path / "shard.parquet", result.metadata)
    assert "loss_mask" not in problem
    assert "input_ids" in problem
    assert (counts, shares) == ([0, 0, 0, 0], 0.0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_counts_unlike_those_of_a_receipt_are_found(result: PrepResult, monkeypatch, place: int) -> None:
    split = result.metadata.splits[0]
    problems, counts, shares = _check_shard(the_shard(result), result.metadata)
    counts[place] += 1
    monkeypatch.setattr(verify_room, "_check_shard", lambda *_: (problems, counts, shares))
    found = [*_verify_split(result.plan.run_dir, split, result.metadata)]
    assert any(
        f"{the_shard(result)} has {counts[0]} packs, {counts[1]} sequences and {counts[2]}" in each for each in found
    )


def test_inputs_that_nobody_recorded_are_a_problem_and_no_error(result: PrepResult, monkeypatch) -> None:
    def fail(run: Path) -> None:
        raise UserError("The record of the inputs is gone.", "Restore it.")

    monkeypatch.setattr(verify_room, "read_inputs", fail)
    assert [*verify_room._verify_tokens(result.plan.run_dir)] == ["The record of the inputs is gone."]


@pytest.mark.parametrize("facts", [{"run_hash": "another"}, {}, [1], None])
def test_an_artifact_of_another_run_is_not_this_runs(result: PrepResult, facts: object) -> None:
    manifest = result.plan.run_dir / "splits/artifact.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "metadata": facts}))
    assert f"{manifest} is not the artifact of the run." in [*verify(result.plan.output_dir)]


@pytest.mark.parametrize("blend", [{"train": ["0.5", "x"], "valid": 3}, {"train": 3}, [1], {}])
def test_a_blend_for_megatron_that_is_none_is_a_problem_and_no_error(result: PrepResult, blend: object) -> None:
    path = result.plan.output_dir / "blend.json"
    path.write_text(json.dumps(blend))
    assert any(problem.startswith(f"{path} does not list") for problem in verify(result.plan.output_dir))


@pytest.mark.parametrize(
    ("targets", "whole", "found"),
    [([1, 2], [1, 5], 0), ([0, 2], [1, 5], 1), ([1, 6], [1, 5], 1), ([1], [1, 5], 1)],
)
def test_a_sequence_trains_at_least_one_token_and_at_most_those_of_its_conversation(
    targets: list[int], whole: list[int], found: int
) -> None:
    assert len([*_check_conversations(np.array(targets), np.array(whole))]) == found


def test_a_shard_that_cannot_be_read_is_one_problem(result: PrepResult, tmp_path: Path) -> None:
    shard = tmp_path / "shard.parquet"
    for write in (
        lambda: shard.write_bytes(b"PAR1 nothing of the kind PAR1"),
        lambda: pq.write_table(pa.table([[[7, None]], [[1, 0]], [[0]], [[1]]], schema=SCHEMA), shard),
    ):
        write()
        [problem], counts, shares = _check_shard(shard, result.metadata)
        assert problem.startswith("cannot be read: ")
        assert (counts, shares) == ([0] * 4, 0.0)


FILES_OF_A_RUN = [
    "plan.json",
    "config.yaml",
    "examples.json",
    "dropped.jsonl.zst",
    "metadata.json",
    "receipts/train/*.json",
    "splits/train/*.parquet",
]


@pytest.mark.parametrize("name", FILES_OF_A_RUN)
def test_what_verification_calls_damaged_is_not_taken_for_prepared_already(result: PrepResult, name: str) -> None:
    assert read_finished(result.plan) is not None
    [path] = result.plan.run_dir.glob(name)
    flip_a_byte(path)
    assert read_finished(result.plan) is None


def test_a_finished_run_takes_the_name_of_the_config_that_asks_for_it(result: PrepResult) -> None:
    config = dataclasses.replace(result.plan.config, config_name="other")
    found = read_finished(dataclasses.replace(result.plan, config=config))
    assert found == dataclasses.replace(result.metadata, config_name="other")
