"""Ten thousand rows of every kind of wrong: no crash, and every one of them accounted for under its own reason."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.sources import rows as source_rows

KEPT, BLANK = "kept", "blank"
ROWS = 10_000
TEXTS = [
    "Hi", "", " ", "ça va ?", "日本語", "🙂👩‍👩‍👧", "\u0000\u001f", "\u2028\u2029", "<|im_end|>", "<think>",
    "{{ x }}", "a\r\nb", "\ufeff",
]  # fmt: skip
NO_TEXT = [3, 1.5, True, {"text": "x"}, [3], [None], [{"type": "image_url"}]]
BAD_ARGUMENTS = ["{", "[1]", 3, '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud83d"}', "[" * 9999]
NO_LIST = [None, 3, "text", {}, [], True]


def row_of(random: random.Random) -> tuple[bytes, str]:
    """A line, without its newline, and what has to become of it."""
    make, outcome = random.choice(KINDS)
    made = make(random)
    return (made if isinstance(made, bytes) else json.dumps(made, ensure_ascii=random.random() < 0.5).encode()), outcome


def user(random: random.Random) -> dict[str, Any]:
    return {"role": "user", "content": random.choice(TEXTS)}


def answer(random: random.Random, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": random.choice(TEXTS)} | fields


def call(arguments: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}


def chat(*turns: Callable[[random.Random], Any] | dict[str, Any], **fields: Any) -> Callable[[random.Random], Any]:
    return lambda random: {"messages": [turn(random) if callable(turn) else turn for turn in turns], **fields}


def cut_line(random: random.Random) -> bytes:
    line = json.dumps(chat(user, answer)(random)).encode()
    return line[: random.randrange(1, len(line) - 1)]


def wrong_bytes(random: random.Random) -> bytes:
    line = json.dumps({"messages": [{"role": "user", "content": "xxx"}]}).encode()
    return line.replace(b"xxx", random.choice([b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x80"]))


def sharegpt(*speakers: str) -> Callable[[random.Random], Any]:
    return lambda random: {"conversations": [{"from": who, "value": random.choice(TEXTS)} for who in speakers]}


def one_of(*values: Any) -> Callable[[random.Random], Any]:
    return lambda random: random.choice(values)


KINDS: list[tuple[Callable[[random.Random], Any], str]] = [
    (chat(user, answer), KEPT),
    (chat(user, answer, user, answer), KEPT),
    (chat(answer, answer, user), KEPT),
    (chat(user, lambda random: answer(random, reasoning_content=random.choice(["hm", "  ", None]))), KEPT),
    (chat(user, call('{"a": 123456789012345678901234567890}')), KEPT),
    (chat(user, call({"a": 123456789012345678901234567890, "b": [[[{}]]]})), KEPT),
    (chat(user, call(None), {"role": "tool", "content": None}, answer), KEPT),
    (chat({"role": "developer", "content": ["a", {"type": "text", "text": "b"}]}, user, answer, tools="[]"), KEPT),
    (chat(user, answer, extra={"deep": [[[[1e300]]]]}, tools=[{"name": "f", "parameters": None}]), KEPT),
    (sharegpt("human", "gpt"), KEPT),
    (sharegpt("system", "human", "gpt", "observation", "gpt"), KEPT),
    (lambda random: {"prompt": random.choice(TEXTS), "completion": random.choice(TEXTS)}, KEPT),
    (lambda random: {"instruction": random.choice(TEXTS), "input": "", "output": random.choice(TEXTS)}, KEPT),
    (one_of(b"", b" ", b"\t \r"), BLANK),
    (cut_line, "bad_json"),
    (wrong_bytes, "bad_json"),
    (one_of(b"{'a': 1}", b"nul", b"NaN", b"[1,]", b'{"a": 1} {"b": 2}', b"\x00", b'{"a": "\\ud83d"}'), "bad_json"),
    (lambda random: b"[" * random.randrange(2000, 5000), "bad_json"),
    (one_of(None, 3, "text", [], [{"messages": []}], True, 1e300), "not_an_object"),
    (lambda random: {"messages": random.choice(NO_LIST)}, "no_messages"),
    (one_of({}, {"text": "x"}, {"prompt": "x"}, {"Messages": [1]}, {"conversations": 3}), "no_messages"),
    (lambda random: {"messages": [user(random), random.choice([None, 3, "text", []])]}, "bad_message"),
    (lambda random: {"messages": [user(random), {"role": random.choice(["", "critic", None, 3, []])}]}, "bad_role"),
    (sharegpt("human", "nobody"), "bad_role"),
    (chat(user, lambda random: answer(random, content=random.choice(NO_TEXT))), "bad_content"),
    (lambda random: {"prompt": random.choice(TEXTS), "completion": 3}, "bad_content"),
    (chat(user, {"role": "assistant"}), "bad_content"),
    (chat(user, lambda random: answer(random, tool_calls=random.choice([3, {}, [3], [{}]]))), "bad_tool_calls"),
    (chat(user, lambda random: call(random.choice(BAD_ARGUMENTS))), "bad_tool_arguments"),
    (lambda random: chat(user, answer, tools=random.choice([3, {}, "[", [3], [{}]]))(random), "bad_tools"),
    (chat(user, lambda random: answer(random, train="no")), "bad_train_flag"),
    (chat(user, lambda random: answer(random, weight=random.choice([0.5, "0", -1, []]))), "bad_train_flag"),
    (chat(user, user), "no_assistant_turn"),
    (sharegpt("human"), "no_assistant_turn"),
    (chat(user, lambda random: answer(random, train=False)), "no_trained_turn"),
    (chat(user, {"role": "assistant", "content": "long " * 800}), "overlong"),
]  # fmt: skip


def dropped_rows(result: PrepResult) -> dict[int, str]:
    with zstandard.open(result.plan.run_dir / "dropped.jsonl.zst", "rb") as file:
        return {row["line"]: row["reason"] for row in map(orjson.loads, file.read().splitlines())}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_every_row_is_accounted_for(
    name: str, make_config: Callable[..., DataPrepConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = random.Random(7)
    lines, outcomes = zip(*(row_of(seeded) for _ in range(ROWS)), strict=True)
    content = b"\n".join(lines) + b"\n"
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    monkeypatch.setattr(source_rows, "PART_BYTES", 100_000)
    result = prepare(make_config(name, pack_size=2048))
    expected = {line: outcome for line, outcome in enumerate(outcomes, start=1) if outcome not in (KEPT, BLANK)}
    assert dropped_rows(result) == expected
    stats = result.metadata.datasets[0]
    assert stats.dropped == Counter(expected.values())
    assert (stats.rows, stats.kept) == (ROWS - outcomes.count(BLANK), outcomes.count(KEPT))
    assert set(outcomes) == {outcome for _, outcome in KINDS}
