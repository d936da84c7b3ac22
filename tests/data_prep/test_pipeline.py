"""Data prep from end to end, seen from outside: rows in, Parquet and counts out, whatever happens in between."""

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard

from nemotron.data_prep import engine, pipeline, tokenize_inputs
from nemotron.data_prep.chat import nemotron3
from nemotron.data_prep.config import DataPrepConfig, TokenizerConfig
from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.output import finished
from nemotron.data_prep.output.metadata import NoteStats
from nemotron.data_prep.packing import shards
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.progress import WorkProgress
from nemotron.data_prep.sources import rows as source_rows
from nemotron.errors import UserError
from nemotron.lineage import resolve

Row = dict[str, Any]
MakeConfig = Callable[..., DataPrepConfig]
WriteRows = Callable[[str, list[Row]], Path]
Chat = Callable[..., Row]
Decode = Callable[[list[int]], str]


def sequences(result: PrepResult, split: str = "train") -> list[tuple[list[int], list[int]]]:
    """(ids, targets) of every sequence of a split, read as the trainer does: target j + 1 where the mask at j is 1."""
    found = []
    for path in sorted((result.splits_dir / split).glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            bounds = [*row["seq_start_id"], len(row["input_ids"])]
            for start, end in pairwise(bounds):
                ids, mask = row["input_ids"][start:end], row["loss_mask"][start:end]
                found.append((ids, [ids[j + 1] for j in range(len(ids) - 1) if mask[j]]))
    return found


def dropped_rows(result: PrepResult) -> list[Row]:
    with zstandard.open(result.plan.run_dir / "dropped.jsonl.zst", "rb") as file:
        return [orjson.loads(line) for line in file.read().splitlines()]


def output_bytes(result: PrepResult) -> dict[str, bytes]:
    """What a run wrote for the trainer and for people, by name."""
    files = [*(result.plan.run_dir / "splits").rglob("*.parquet"), result.plan.run_dir / "dropped.jsonl.zst"]
    return {str(path.relative_to(result.plan.run_dir)): path.read_bytes() for path in files}


def test_messages_in_tokens_and_mask_out(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, decode: Decode
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello!", "And now?", "Ça va.")])
    result = prepare(make_config("chat.jsonl"))
    [(ids, targets)] = sequences(result)
    assert decode(ids) == (
        "<|im_start|>system\n<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think></think>Hello!<|im_end|>\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n<think></think>Ça va.<|im_end|>\n"
    )
    assert decode(targets) == "Hello!<|im_end|>Ça va.<|im_end|>"
    assert result.metadata.supervised_tokens == len(targets)
    assert result.metadata.tokens == len(ids)


def test_reasoning_makes_a_sequence_per_user_turn(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, decode: Decode
) -> None:
    row = chat("One?", "1", "Two?", "2")
    for message, thought in zip(row["messages"][1::2], ["first", "second"], strict=True):
        message["reasoning_content"] = thought
    write_rows("chat.jsonl", [row])
    trained = sorted(decode(targets) for _, targets in sequences(prepare(make_config("chat.jsonl"))))
    assert trained == ["first\n</think>\n1<|im_end|>", "second\n</think>\n2<|im_end|>"]


def test_rendering_that_departs_from_the_template_stops_the_run(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows("chat.jsonl", [{"messages": [*chat("Hi", "Hello!")["messages"], {"role": "user", "content": "Bye"}]}])
    monkeypatch.setattr(nemotron3, "plain_turn", lambda *_: "<|im_start|>user\nHo<|im_end|>\n")
    with pytest.raises(UserError, match="conversation 0"):
        prepare(make_config("chat.jsonl"))


def test_every_row_is_kept_or_dropped_for_a_reason(make_config: MakeConfig, tmp_path: Path, chat: Chat) -> None:
    lines = [
        json.dumps(chat("Hi", "Hello", used_in=["sft"])),
        '{"messages": [',
        "",
        json.dumps(chat("Hi", "Hello")),
        json.dumps({"messages": [{"role": "user", "content": "Hi"}], "used_in": "sft, rl"}),
        json.dumps(chat("Hi", "x" * 500, used_in=["sft"])),
        json.dumps(
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "alien", "content": "!"}], "used_in": ["sft"]}
        ),
        "[1]",
    ]
    (tmp_path / "chat.jsonl").write_text("\n".join(lines))
    result = prepare(make_config("chat.jsonl", used_in_filter="sft"))
    stats = result.metadata.datasets[0]
    assert (stats.rows, stats.kept) == (7, 1)  # the blank line is no row
    assert [(row["line"], row["reason"]) for row in dropped_rows(result)] == [
        (2, "bad_json"), (4, "filtered"), (5, "no_assistant_turn"), (6, "overlong"), (7, "bad_role"),
        (8, "not_an_object"),
    ]  # fmt: skip
    assert {row["file"] for row in dropped_rows(result)} == {str(tmp_path / "chat.jsonl")}
    assert stats.dropped == Counter(row["reason"] for row in dropped_rows(result))


def many_rows(chat: Chat, count: int = 300) -> list[Row]:
    """Different conversations of different lengths, every tenth broken."""
    rows = [chat(f"Question {i}?", "word " * (i * 7919 % 30), *(["More?", "Yes."] * (i % 3))) for i in range(count)]
    return [{"messages": None} if i % 10 == 3 else row for i, row in enumerate(rows)]


def test_the_bytes_do_not_depend_on_the_kind_of_file(make_config: MakeConfig, tmp_path: Path, chat: Chat) -> None:
    rows = [chat(f"Question {i}?\nSay 'it', or \"that\".", "Yes. " * (i % 4)) for i in range(60)]
    rows[::9] = [{"messages": row["messages"][:1]} for row in rows[::9]]  # nothing to learn
    for row in rows[::7]:
        row["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    table = pa.Table.from_pylist([{"tools": None, **row} for row in rows])
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(table, tmp_path / "chat.parquet", row_group_size=20)
    feather.write_feather(table, str(tmp_path / "chat.feather"), chunksize=20)
    with open(tmp_path / "chat.csv", "w", newline="") as file:
        lines = csv.DictWriter(file, ["messages", "tools"])
        lines.writeheader()
        lines.writerows({name: json.dumps(value) for name, value in row.items()} for row in rows)
    made = []
    for kind in ("jsonl", "parquet", "feather", "csv"):
        result = prepare(make_config(f"chat.{kind}", pack_size=4096))
        made.append({name: content for name, content in output_bytes(result).items() if name.endswith(".parquet")})
        assert [row["line"] for row in dropped_rows(result)] == [1 + i + (kind == "csv") for i in range(0, 60, 9)]
    assert made[0]
    assert made == [made[0]] * 4


def test_the_bytes_do_not_depend_on_the_workers(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows("chat.jsonl", many_rows(chat))
    settings = {"train_ratio": 0.9, "valid_ratio": 0.05, "test_ratio": 0.05, "num_shards": 3}
    alone = prepare(make_config("chat.jsonl", **settings))
    one = output_bytes(alone)
    monkeypatch.setattr(source_rows, "PART_BYTES", 20_000)
    monkeypatch.setattr(engine, "count_useful_workers", lambda workers, _: workers)
    several = prepare(make_config("chat.jsonl", **settings, workers=2, force=True))
    assert len(several.plan.datasets[0].files[0].parts) > 2
    assert {Path(name).parts[-2] for name in one if name.endswith(".parquet")} == {"train", "valid", "test"}
    assert several.encoder == alone.encoder  # chosen by what workers encode
    assert output_bytes(several) == one


def test_a_run_killed_at_any_moment_is_completed_to_the_same_bytes(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On disk a kill shows as the last rename that happened: the n-th attempt dies after n, until one gets through."""
    write_rows("a.jsonl", many_rows(chat, 40))
    write_rows("b.jsonl", many_rows(chat, 50)[40:])
    config = make_config("a.jsonl", "b.jsonl")
    undisturbed = output_bytes(prepare(config))
    config.output_dir = str(tmp_path / "killed")

    class Killed(BaseException):
        """Not an Exception: nothing may catch it and go on."""

    rename, allowed, renames = Path.replace, 0, 0

    def replace_until_killed(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames > allowed:
            raise Killed
        return rename(self, target)

    kills, result = 0, None
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_until_killed)
        while result is None:
            renames = 0
            try:
                result = prepare(config)
            except Killed:
                kills += 1
                allowed += 1
    assert kills > 5
    assert output_bytes(result) == undisturbed


def test_what_a_killed_process_had_begun_is_removed(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    begun = tmp_path / "out" / "tokens" / "chat" / "abc" / ".part_000000.tokens.1234.tmp"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"half a file")
    prepare(make_config("chat.jsonl"))
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_the_same_again_is_nothing_to_do(make_config: MakeConfig, write_rows: WriteRows, chat: Chat) -> None:
    write_rows("chat.jsonl", many_rows(chat, 20))
    first, again = prepare(make_config("chat.jsonl")), prepare(make_config("chat.jsonl"))
    assert (first.unchanged, again.unchanged) == (False, True)
    assert again.metadata == first.metadata
    assert again.artifact.version == first.artifact.version
    assert prepare(make_config("chat.jsonl", force=True)).unchanged is False


def test_a_tokenizer_that_was_moved_is_named_by_its_new_place(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", many_rows(chat, 20))
    first = prepare(make_config("chat.jsonl"))
    moved = shutil.copytree(first.metadata.tokenizer["model"], tmp_path / "moved")
    again = prepare(replace(make_config("chat.jsonl"), tokenizer=TokenizerConfig(model=str(moved))))
    assert again.unchanged
    assert again.metadata.tokenizer == {**first.metadata.tokenizer, "model": str(moved)}


def test_a_missing_shard_is_made_again(make_config: MakeConfig, write_rows: WriteRows, chat: Chat) -> None:
    write_rows("chat.jsonl", many_rows(chat, 20))
    first = prepare(make_config("chat.jsonl"))
    before = output_bytes(first)
    next((first.plan.run_dir / "splits" / "train").glob("*.parquet")).unlink()
    again = prepare(make_config("chat.jsonl"))
    assert not again.unchanged
    assert output_bytes(again) == before


def test_a_shard_of_the_same_size_with_other_bytes_is_made_again(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat
) -> None:
    write_rows("chat.jsonl", many_rows(chat, 20))
    first = prepare(make_config("chat.jsonl"))
    before = output_bytes(first)
    shard = next((first.plan.run_dir / "splits" / "train").glob("*.parquet"))
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    again = prepare(make_config("chat.jsonl"))
    assert not again.unchanged
    assert output_bytes(again) == before


def test_every_shard_is_looked_at_sooner_or_later(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command looks at one of three shards here, another one each time: the last one's damage is found."""
    monkeypatch.setattr(finished, "SAMPLED_BYTES", 1)
    monkeypatch.setattr(shards, "LEAST_PACKS", 2)
    write_rows("chat.jsonl", [chat(f"{i}?", "word " * 40) for i in range(90)])
    config = make_config("chat.jsonl", num_shards=3, pack_size=256, train_ratio=1.0, valid_ratio=0.0, test_ratio=0.0)
    first = prepare(config)
    _, _, last = sorted((first.plan.run_dir / "splits/train").glob("*.parquet"))
    whole = last.read_bytes()
    last.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert any(not prepare(config).unchanged for _ in range(100))
    assert last.read_bytes() == whole


@pytest.mark.parametrize("pattern", ["tokens/*/*/*.tokens", "runs/*/splits/train/*.parquet"])
def test_damaged_work_of_an_earlier_run_is_done_again(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, pattern: str
) -> None:
    """A flipped bit leaves the size as it is: what is kept is checked before it is used."""
    write_rows("chat.jsonl", many_rows(chat, 20))
    first = prepare(make_config("chat.jsonl"))
    before = output_bytes(first)
    (first.plan.run_dir / "metadata.json").unlink()  # as after a kill
    [path] = first.plan.output_dir.glob(pattern)
    content = path.read_bytes()
    path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    again = prepare(make_config("chat.jsonl"))
    assert output_bytes(again) == before
    assert path.read_bytes() == content


@pytest.mark.parametrize(("sample", "short"), [(None, []), (2, [0]), (1, [])])
def test_a_dataset_is_short_if_part_of_it_was_left_out_and_too_little_is_kept(sample: int | None, short: list[int]):
    """The second was read to its end: there is no more of it."""
    read, cut = SimpleNamespace(dropped={}), SimpleNamespace(dropped={LeftOut.NOT_SAMPLED: 3})
    plan = SimpleNamespace(config=SimpleNamespace(sample=sample), datasets=["a", "b"])
    corpus = SimpleNamespace(dataset=np.array([0, 0, 1]))
    selection = SimpleNamespace(kept=np.array([True, False, True]))
    found = pipeline._find_short_datasets
    assert found(cast(Any, plan), cast(Any, [[read, cut], [read]]), cast(Any, corpus), cast(Any, selection)) == short


def test_the_work_of_an_earlier_run_is_checked_once_however_often_the_sample_grows(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows("short.jsonl", [chat(f"{i}?", "Yes.") for i in range(20)])
    write_rows("long.jsonl", [chat(f"{i}?", "word " * (5 if i % 100 == 7 else 60)) for i in range(2000)])
    config = make_config("short.jsonl", "long.jsonl", sample=10, overlong="drop")
    first = prepare(config)
    (first.plan.run_dir / "metadata.json").unlink()  # as after a kill
    tokenized, checked = Counter[str](), Counter[str]()

    def counted(by: Counter[str], work: Callable[..., Any], name: Callable[[Any], Path]) -> Callable[..., Any]:
        def count(shared: Any, thing: Any) -> Any:
            by[name(thing).parent.parent.name] += 1
            return work(shared, thing)

        return count

    monkeypatch.setattr(
        tokenize_inputs, "tokenize_part", counted(tokenized, tokenize_inputs.tokenize_part, lambda work: work.output)
    )
    monkeypatch.setattr(
        tokenize_inputs, "is_intact", counted(checked, tokenize_inputs.is_intact, lambda output: output)
    )
    assert output_bytes(prepare(config)) == output_bytes(first)
    assert tokenized["long"] > 1  # the sample grew more than once
    assert (tokenized["short"], checked["short"]) == (0, 1)
    assert checked["long"] <= 1


def test_other_packing_reads_the_tokens_that_are_there(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows("chat.jsonl", many_rows(chat, 20))
    prepare(make_config("chat.jsonl"))

    def refuse(*_: object) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr(tokenize_inputs, "tokenize_part", refuse)
    assert prepare(make_config("chat.jsonl", pack_size=512, seed=1)).metadata.pack_size == 512


def test_other_shares_read_the_tokens_that_are_there(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_rows(f"{name}.jsonl", [chat(f"{name}{i}?", "Yes.") for i in range(20)])

    def shares(weight: float, samples: int | None = None, **repeat: bool) -> list[int]:
        a, b = {"path": "a.jsonl", "weight": weight}, {"path": "b.jsonl", "weight": 1, **repeat}
        result = prepare(make_config(blend={"datasets": [a, b]}, **{"blend.samples": samples}))
        return [stats.kept + stats.repeated for stats in result.metadata.datasets]

    assert shares(1) == [20, 20]

    def refuse(*_: object) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr(tokenize_inputs, "tokenize_part", refuse)
    assert shares(0.5) == [10, 20]
    assert shares(2, repeat=True) == [20, 10]
    assert shares(0.5, repeat=True) == [20, 40]
    assert shares(3, samples=12) == [9, 3]


def test_repeated_conversations_are_trained_on_as_often_as_counted(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, decode: Decode
) -> None:
    write_rows("a.jsonl", [chat(f"a{i}?", "Yes.") for i in range(200)])
    write_rows("b.jsonl", [chat(f"b{i}?", "No.", "Why?", "So.") for i in range(30)])
    blend = {"datasets": [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl", "weight": 1, "repeat": True}]}
    result = prepare(make_config(blend=blend, train_ratio=0.8, valid_ratio=0.1, test_ratio=0.1))
    times = Counter(decode(ids) for split in ("train", "valid", "test") for ids, _ in sequences(result, split))
    assert Counter(times.values()) == {1: 200, 6: 10, 7: 20}
    b = result.metadata.datasets[1]
    assert (b.rows, b.kept, b.repeated, b.sequences, b.conversation_share) == (30, 30, 170, 200, 0.5)
    assert result.metadata.conversations == sum(split.conversations for split in result.metadata.splits) == 400
    for total in ("sequences", "tokens", "supervised_tokens"):
        per_split = sum(getattr(split, total) for split in result.metadata.splits)
        assert per_split == sum(getattr(dataset, total) for dataset in result.metadata.datasets)
    assert b.share_of_supervised == pytest.approx(8 / (8 + 5))  # "No.", "So." and two ends of turn; "Yes." and one


def test_a_blend_that_needs_more_than_there_is_says_so(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat
) -> None:
    write_rows("chat.jsonl", [chat(f"{i}?", "Yes.") for i in range(5)])
    with pytest.raises(UserError, match=r'6 .*"chat".* 5'):
        prepare(make_config("chat.jsonl", **{"blend.samples": 6}))


def test_a_second_run_leaves_nothing_of_the_first_in_the_splits(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat
) -> None:
    write_rows("chat.jsonl", many_rows(chat))
    first = prepare(make_config("chat.jsonl", train_ratio=0.5, valid_ratio=0.5, num_shards=8))
    assert (first.splits_dir / "valid").is_dir()
    second = prepare(make_config("chat.jsonl"))
    assert sorted(path.name for path in second.splits_dir.iterdir()) == ["artifact.json", "train"]
    assert {path.resolve().parent for path in second.splits_dir.glob("train/*")} == {
        second.plan.run_dir / "splits/train"
    }


def test_no_conversation_is_in_two_splits(make_config: MakeConfig, write_rows: WriteRows, chat: Chat) -> None:
    write_rows("a.jsonl", many_rows(chat, 200))
    write_rows("b.jsonl", many_rows(chat, 200)[::-1])  # the same again, in another order
    result = prepare(make_config("a.jsonl", "b.jsonl", train_ratio=0.6, valid_ratio=0.2, test_ratio=0.2))
    contents = [{tuple(ids) for ids, _ in sequences(result, split)} for split in ("train", "valid", "test")]
    assert all(contents)
    assert all(one.isdisjoint(other) for one, other in combinations(contents, 2))
    assert result.metadata.datasets[1].duplicates == result.metadata.datasets[1].kept


def test_an_answer_is_never_cut_before_its_end(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, decode: Decode
) -> None:
    write_rows("chat.jsonl", [chat(*["Go on.", "words " * 10] * 8)])
    result = prepare(make_config("chat.jsonl"))
    [(ids, targets)] = sequences(result)
    assert len(ids) <= 256
    assert decode(ids).endswith("<|im_end|>")
    assert decode(targets).count("<|im_end|>") == decode(ids).count("<think></think>") == 2
    assert result.metadata.overlong.truncated == result.metadata.datasets[0].truncated == 1
    assert result.metadata.overlong.lost_supervised_share == pytest.approx(6 / 8)


def test_what_is_lost_to_the_limit_is_a_share_of_what_would_be_trained_on(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat
) -> None:
    """A duplicate is left out whatever the limit is, so its tokens are neither lost nor kept."""
    long = chat(*["Go on.", "words " * 10] * 8)
    write_rows("chat.jsonl", [long, long, long])
    overlong = prepare(make_config("chat.jsonl", dedupe=True)).metadata.overlong
    assert overlong.lost_supervised_share == pytest.approx(6 / 8)
    assert (overlong.truncated, overlong.dropped) == (1, 0)


def test_a_sample_is_small_and_apart(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", many_rows(chat))
    everything = prepare(make_config("chat.jsonl"))
    sample = prepare(make_config("chat.jsonl", sample=7))
    assert sample.metadata.conversations == 7
    assert sample.splits_dir == tmp_path / "out" / "sample-7" / "splits"
    assert {tuple(ids) for ids, _ in sequences(sample)} < {tuple(ids) for ids, _ in sequences(everything)}
    assert resolve("SFTDataArtifact-sft:latest", tmp_path / "artifacts").path == everything.artifact.path
    assert sum(sample.metadata.datasets[0].dropped.values()) == 293


def test_a_sample_is_full_though_most_rows_are_too_long_or_repeated(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat
) -> None:
    """Long conversations and duplicates are known only when tokenized: the sample goes on until it is full."""
    long, same = [chat(f"Hi {i}", "x" * 999) for i in range(300)], [chat("Hi", "Hello!")] * 300
    write_rows("chat.jsonl", [*long, *same, *[chat(f"Question {i}?", "Short.") for i in range(12)]])
    sample = prepare(make_config("chat.jsonl", sample=10, dedupe=True, overlong="drop"))
    assert sample.metadata.datasets[0].kept == 10
    assert sample.metadata.conversations == 10
    fewer = prepare(make_config("chat.jsonl", sample=100, dedupe=True, overlong="drop")).metadata.datasets[0]
    assert fewer.kept == 13, "all there are"
    assert fewer.dropped == {"overlong": 300, "duplicate": 299}


def test_the_artifact_says_what_a_trainer_needs(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, tmp_path: Path, byte_tokenizer: Path
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    result = prepare(make_config("chat.jsonl", config_name="mine"))
    artifact = resolve("SFTDataArtifact-sft:mine", tmp_path / "artifacts")
    assert Path(artifact.path) == result.splits_dir.resolve()
    assert artifact.metadata["pack_size"] == 256
    assert artifact.metadata["tokenizer"]["model"] == str(byte_tokenizer)
    assert artifact.metadata["packs"] == {"train": 1}
    assert json.loads(Path(artifact.metadata["metadata"]).read_text())["run_hash"] == result.plan.run_hash


def test_blend_json_is_what_megatron_reads(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "LEAST_PACKS", 64)
    write_rows("chat.jsonl", many_rows(chat))
    result = prepare(make_config("chat.jsonl", num_shards=2, pack_size=128))
    blend = json.loads((tmp_path / "out" / "blend.json").read_text())
    assert list(blend) == ["train", "datasets"]
    assert [(share["name"], share["conversation_share"]) for share in blend["datasets"]] == [("chat", 1.0)]
    weights, prefixes = blend["train"][0::2], blend["train"][1::2]
    assert [pq.read_metadata(f"{prefix}.parquet").num_rows for prefix in prefixes] == weights
    assert len(weights) == 2
    assert sum(weights) == result.metadata.splits[0].packs


def test_empty_answers_are_kept_and_counted(make_config: MakeConfig, write_rows: WriteRows, chat: Chat) -> None:
    silent = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}]}
    path = write_rows("chat.jsonl", [chat("Hi", "Hello"), silent, chat("Hi", "", "Still there?", "Yes.")])
    stats = prepare(make_config("chat.jsonl")).metadata.datasets[0]
    places = [{"file": str(path), "line": line} for line in (2, 3)]
    assert (stats.kept, stats.notes) == (3, [NoteStats("empty_answer", "", 2, places)])


def test_progress_ends_at_its_total(make_config: MakeConfig, write_rows: WriteRows, chat: Chat) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    last: dict[str, WorkProgress] = {}
    metadata = prepare(make_config("chat.jsonl"), on_progress=lambda stage: last.update({stage.name: stage})).metadata
    size = (Path(make_config("chat.jsonl").blend_path).parent / "chat.jsonl").stat().st_size
    assert list(last.values()) == [
        WorkProgress("tokenize chat", size, size, "bytes", {"rows": 1, "tokens": metadata.tokens}),
        WorkProgress("pack", 1, 1, "shards", {"packs": 1, "tokens": metadata.tokens}),
    ]


def test_an_empty_dataset_is_an_error(make_config: MakeConfig, write_rows: WriteRows) -> None:
    write_rows("chat.jsonl", [])
    with pytest.raises(UserError, match="empty"):
        prepare(make_config("chat.jsonl"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [{"role": "user", "content": "Hi"}]}, "1 x no_assistant_turn"),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x" * 300}]},
            "1 x overlong",
        ),
    ],
)
def test_nothing_to_train_on_is_an_error_that_says_why(
    make_config: MakeConfig, write_rows: WriteRows, row: Row, reason: str, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", [row])
    with pytest.raises(UserError, match=r"1 rows?") as error:
        prepare(make_config("chat.jsonl"))
    assert reason in error.value.message
    assert not (tmp_path / "out" / "splits").exists()


def test_nothing_to_train_on_counts_every_row_that_was_read(
    make_config: MakeConfig, write_rows: WriteRows, tmp_path: Path
) -> None:
    too_long = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x" * 300}]}
    path = write_rows("chat.jsonl", [too_long])
    with Path(path).open("a") as file:
        file.write("{broken\n{broken\n")
    with pytest.raises(UserError, match="3 rows") as error:
        prepare(make_config("chat.jsonl"))
    assert "2 x bad_json" in error.value.message
    assert "1 x overlong" in error.value.message


def test_a_folder_in_use_says_who_holds_it(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    holds = "import sys; from pathlib import Path; from nemotron.files.folder_lock import sole_writer\n"
    holds += "with sole_writer(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holds, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match=f"process {other.pid} on .*output_dir"):
            prepare(make_config("chat.jsonl"))


def test_an_output_folder_that_cannot_be_written_is_named(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"/out: File exists"):
        prepare(make_config("chat.jsonl"))


def test_too_little_memory_is_said_without_a_traceback(
    make_config: MakeConfig, write_rows: WriteRows, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    monkeypatch.setattr(pipeline, "write_shard", lambda *_: np.empty(2**50, np.int32))
    with pytest.raises(UserError, match=r"memory.*Unable to allocate") as error:
        prepare(make_config("chat.jsonl"))
    assert "pack_size" in (error.value.hint or "")
