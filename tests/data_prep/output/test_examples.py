"""What the report shows of the data: the same whoever does the work, and what the files hold."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zstandard

from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.output.examples import (
    EXAMPLES_FILE,
    Examples,
    _by_length,
    _find_left_out,
    _find_repeated,
    _first_ranked,
    _longest_sequence,
    read_examples,
)
from nemotron.data_prep.output.excerpts import Excerpt
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.selection.select import OUTCOMES
from nemotron.data_prep.sources import rows as source_rows


@pytest.fixture
def blend(write_rows: Callable[..., Path], chat: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two datasets in several parts, with broken, repeated and over-long rows."""
    monkeypatch.setattr(source_rows, "LEAST_PART_BYTES", 2_000)
    rows = [chat(f"Question {i}?", "word " * (i % 30 + 1)) for i in range(80)]
    write_rows("a.jsonl", [*rows, rows[3], rows[3], rows[5], {"messages": 1}, {"messages": 2}, chat("Long", "x" * 400)])
    b = write_rows("b.jsonl", [chat(f"Frage {i}?", "Wort " * (i % 20 + 40)) for i in range(40)])
    with b.open("a") as file:
        file.write('{"messages": \x1b[31m broken\n')
    return {"datasets": [{"path": "a.jsonl"}, {"path": "b.jsonl"}]}


def shown(result: PrepResult, kind: str) -> list[Excerpt]:
    return [one for one in read_examples(result.plan.run_dir).sequences if one["kind"] == kind]


def test_the_longest_and_shortest_are_shown_as_they_train(make_config: Callable[..., Any], blend: Any) -> None:
    result = prepare(make_config(blend=blend))
    longest, shortest = shown(result, "longest"), shown(result, "shortest")
    lengths = result.metadata.sequence_lengths
    assert (longest[0]["tokens"], shortest[0]["tokens"]) == (lengths["max"], lengths["min"])
    assert (shortest[0]["dataset"], shortest[0]["line"]) == ("a", 1)
    assert "".join(chunk["text"] for chunk in shortest[0]["chunks"]) == (
        "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nQuestion 0?<|im_end|>\n"
        "<|im_start|>assistant\n<think></think>word<|im_end|>\n"
    )
    trained = [chunk["text"] for chunk in shortest[0]["chunks"] if chunk["supervised"]]
    assert trained == ["word<|im_end|>"]
    assert [chunk["role"] for chunk in shortest[0]["chunks"] if "role" in chunk] == ["system", "user", "answer"]
    for one in [*longest, *shortest]:
        assert sum(chunk["supervised_tokens"] for chunk in one["chunks"]) == one["supervised_tokens"]


def test_repeated_and_dropped_rows_are_shown_with_their_place(make_config: Callable[..., Any], blend: Any) -> None:
    result = prepare(make_config(blend=blend, overlong="drop"))
    assert [(one["count"], one["line"]) for one in shown(result, "repeated")] == [(3, 4), (2, 6)]
    [too_long, *_] = shown(result, "dropped")
    assert (too_long["reason"], too_long["line"]) == ("overlong", 86)
    assert too_long["tokens"] == too_long["uncut"] == 400 + 37
    assert (too_long["chunks"][0]["text"][:20], too_long["chunks"][-1]) == ("<|im_start|>system\n<", {"gap": 437 - 150})
    rows = {(row["reason"], row["dataset"], row["line"]): row for row in read_examples(result.plan.run_dir).dropped}
    assert set(rows) == {("no_messages", "a", 84), ("no_messages", "a", 85), ("bad_json", "b", 41)}
    assert rows["bad_json", "b", 41]["text"] == r'{"messages": \u001b[31m broken'


def test_of_several_datasets_one_row_each_is_shown_first(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write_rows(name, [*[{"messages": 1}] * 5, chat("Hi", "Hello"), *([5] * 5 if name == "b.jsonl" else [])])
    result = prepare(make_config("a.jsonl", "b.jsonl"))
    assert [(row["dataset"], row["line"]) for row in read_examples(result.plan.run_dir).dropped] == [
        ("a", 1), ("b", 1), ("a", 2), ("b", 7), ("b", 8), ("b", 9),
    ]  # fmt: skip


def test_a_long_sequence_is_shown_from_both_ends(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    write_rows("long.jsonl", [chat("Hi", "x" * 5000 + "the end")])
    [longest, _] = read_examples(prepare(make_config("long.jsonl", pack_size=8192)).plan.run_dir).sequences, None
    gaps = [chunk["gap"] for chunk in longest[0]["chunks"] if "gap" in chunk]
    assert len(gaps) == 1
    assert gaps[0] + sum(chunk.get("tokens", 0) for chunk in longest[0]["chunks"]) == longest[0]["tokens"]
    assert "the end<|im_end|>" in longest[0]["chunks"][-2]["text"]


def test_of_a_sequence_that_is_little_longer_nothing_is_left_out(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("nemotron.data_prep.output.examples.SHOWN_TOKENS", (40, 20))
    write_rows("a.jsonl", [chat("Hi", "x" * (40 + 20 + 50 - 35 + more)) for more in (0, 1)])
    result = prepare(make_config("a.jsonl"))
    by_length = {one["tokens"]: one["chunks"] for kind in ("longest", "shortest") for one in shown(result, kind)}
    gaps = {length: [chunk["gap"] for chunk in chunks if "gap" in chunk] for length, chunks in by_length.items()}
    assert gaps == {110: [], 111: [51]}


def test_a_sequence_that_begins_with_a_history_is_shown_whole(
    make_config: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """The second turn of the second conversation: neither it nor its history is at the beginning of the part."""
    turn = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes", "reasoning_content": "Hm."}]
    write_rows(
        "a.jsonl", [{"messages": turn * 2}, {"messages": [*turn, *turn[:1], {**turn[1], "content": "Yes, yes"}]}]
    )
    longest, *_ = shown(prepare(make_config("a.jsonl")), "longest")
    assert longest["line"] == 2
    parts: list[list[str]] = []
    for chunk in longest["chunks"]:
        parts += [[chunk["role"], ""]] if "role" in chunk else []
        parts[-1][1] += chunk["text"]
    assert parts == [
        ["system", "<|im_start|>system\n<|im_end|>\n"],
        ["user", "<|im_start|>user\nHi<|im_end|>\n"],
        ["answer", "<|im_start|>assistant\n<think></think>\nYes<|im_end|>\n"],
        ["user", "<|im_start|>user\nHi<|im_end|>\n"],
        ["reasoning", "<|im_start|>assistant\n<think>\nHm.\n</think>"],
        ["answer", "\nYes, yes<|im_end|>\n"],
    ]


def test_of_a_sequence_with_very_long_tokens_only_the_first_characters_are_shown(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, second = "<|im_start|>system\n<|im_end|>\n", "<|im_start|>user\nHi<|im_end|>\n"
    monkeypatch.setattr("nemotron.data_prep.output.excerpts.MOST_OF_SEQUENCE", len(first + second))
    write_rows("a.jsonl", [chat("Hi", "Yes")])
    [longest] = shown(prepare(make_config("a.jsonl")), "longest")
    assert [chunk["text"] for chunk in longest["chunks"]] == [first, second, "\u2026", "\u2026", "\u2026"]


@pytest.mark.parametrize("encoder", ["tokenizers", "gigatoken"])
def test_report_and_examples_do_not_depend_on_who_works(
    encoder: str, make_config: Callable[..., Any], blend: Any
) -> None:
    def results(**settings: Any) -> tuple[bytes, bytes]:
        result = prepare(make_config(blend=blend, **settings))
        report = (result.plan.output_dir / "report.html").read_bytes()
        return report, (result.plan.run_dir / EXAMPLES_FILE).read_bytes()

    first = results(encoder=encoder)
    assert results(encoder=encoder) == first  # prepared already
    assert results(force=True, workers=3, encoder="tokenizers") == first


def test_a_killed_run_ends_with_the_same_report(make_config: Callable[..., Any], blend: Any) -> None:
    first = prepare(make_config(blend=blend))
    report = first.plan.output_dir / "report.html"
    before = report.read_bytes()
    (first.plan.run_dir / "metadata.json").unlink()  # as after a kill
    (first.plan.run_dir / EXAMPLES_FILE).unlink()
    report.unlink()
    prepare(make_config(blend=blend))
    assert report.read_bytes() == before


def test_a_run_without_its_examples_has_a_report(make_config: Callable[..., Any], blend: Any) -> None:
    result = prepare(make_config(blend=blend))
    written = result.plan.run_dir / EXAMPLES_FILE
    for content in (written.read_text().replace("Question", "Quastion"), json.dumps({"other": 1})):
        written.write_text(content)
        assert read_examples(result.plan.run_dir) == Examples([], [])


def test_of_equal_ones_the_first_are_taken() -> None:
    assert _first_ranked(np.array([5, 1, 3, 1, 1, 9]), 2).tolist() == [1, 3]
    assert _first_ranked(np.array([5, 1, 5, 5, 9]), 3).tolist() == [1, 0, 2]
    assert _first_ranked(np.array([5, 1, 3]), 9).tolist() == [1, 2, 0]


def corpus(content: str, conversation: list[int] | None = None, **fields: Any) -> Any:
    """Conversations with a letter each for their content, of one sequence each if nothing else is said."""
    hashes = np.array([[ord(letter), 0] for letter in content], np.uint64)
    return SimpleNamespace(hash=hashes, conversation=np.array(conversation or range(len(content))), **fields)


def test_the_longest_and_the_shortest_differ_in_their_content() -> None:
    """Conversation 1 is the same as 0, of 3 there are two sequences, and 4, the longest, is not used."""
    cut: Any = SimpleNamespace(length=np.array([9, 9, 8, 3, 7, 10, 1, 2, 2, 5]))
    selection: Any = SimpleNamespace(kept=np.array([True, True, True, True, False, True, True, True, True]))
    found = _by_length(corpus("aabcdefgh", [0, 1, 2, 3, 3, 4, 5, 6, 7, 8]), cut, selection)
    assert found == [
        ("longest", 0, {}), ("longest", 2, {}), ("longest", 3, {}),
        ("shortest", 5, {}), ("shortest", 6, {}), ("shortest", 7, {}),
    ]  # fmt: skip


def test_of_repeated_conversations_the_first_of_those_that_occur_most_often_are_shown() -> None:
    content = "zabbazcccddz"
    selection: Any = SimpleNamespace(duplicates=np.array([letter in content[:i] for i, letter in enumerate(content)]))
    assert _find_repeated(corpus(content), selection) == [
        ("repeated", 6, {"count": 3}), ("repeated", 0, {"count": 3}), ("repeated", 1, {"count": 2}),
    ]  # fmt: skip


def test_of_each_reason_conversations_of_different_datasets_are_shown_first() -> None:
    outcomes = [LeftOut.OVERLONG] * 5 + [None, LeftOut.DUPLICATE]
    selection: Any = SimpleNamespace(outcome=np.array([OUTCOMES.index(outcome) for outcome in outcomes]))
    assert _find_left_out(corpus("abcdefg", dataset=np.array([0, 0, 0, 0, 1, 1, 1])), selection) == [
        *(("dropped", number, {"reason": "overlong"}) for number in (0, 4, 1)),
        ("dropped", 6, {"reason": "duplicate"}),
    ]


def test_the_longest_sequence_is_that_of_the_output_or_where_nothing_is_kept_of_the_input() -> None:
    cut: Any = SimpleNamespace(length=np.array([9, 0, 5, 0, 0, 8]))
    two = corpus("abc", [0, 1, 1, 2, 2, 2], length=np.array([9, 20, 5, 30, 31, 8]))
    assert [_longest_sequence(two, cut, conversation) for conversation in (0, 1, 2)] == [0, 2, 5]
    cut.length[5] = 0
    assert _longest_sequence(two, cut, 2) == 4


@pytest.mark.parametrize("words", [0, 6, 10, 12, 14, 16, *range(49, 60, 2)])
def test_no_piece_of_a_secret_is_shown_where_an_excerpt_is_cut(
    words: int, make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of 70 tokens from the beginning and 20 from the end, the borders go through it somewhere."""
    monkeypatch.setattr("nemotron.data_prep.output.examples.SHOWN_TOKENS", (70, 20))
    secret = "hf_" + "".join(f"Planted{number}" for number in range(6))
    write_rows("a.jsonl", [chat("Where?", " ".join(["a"] * words + [secret] + ["b"] * (60 - words)))])
    result = prepare(make_config("a.jsonl"))
    text = (result.plan.run_dir / EXAMPLES_FILE).read_text() + (result.plan.output_dir / "report.html").read_text()
    assert "longest" in text
    assert "Plant" not in text
    assert "lante" not in text  # nor without its first letter


def test_no_piece_of_a_secret_is_shown_of_a_dropped_row(
    make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    secret = "PLANTED" * 600  # longer than what is shown
    monkeypatch.setenv("MY_TOKEN", secret)
    token = "hf_PLANTED" + "Ab1" * 20
    odd = [
        {"messages": [{"role": "hf_PLANTED01", "content": "Hi"}]},
        {"messages": [{"role": token, "content": "Hi"}]},
        {"messages": token},
        {"messages": [secret]},
    ]
    write_rows("a.jsonl", [chat("Hi", "Yes"), *odd])
    result = prepare(make_config("a.jsonl"))
    assert sum(result.metadata.datasets[0].dropped.values()) == len(odd)
    for path in result.plan.output_dir.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"PLANTED" not in (zstandard.decompress(content, 10**6) if path.suffix == ".zst" else content)
