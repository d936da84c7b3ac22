"""The bundled data and tokenizer: as varied as promised, right in what they say, and reproducible byte for byte."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from nemotron.data_prep.chat.content_hash import content_hash
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError

ROOT = Path(__file__).resolve().parents[1]
DATA_PREP = ROOT / "config" / "data_prep"
TINY = DATA_PREP / "tiny"
FILES = ("chat.jsonl", "reasoning.jsonl", "tools.jsonl")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
FORMAT_TOKENS = (
    *("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
)

Row = dict[str, Any]
SCRIPTS = {
    "German": "[äöüß]|Hauptstadt",
    "French": "capitale de",
    "Spanish": "[¿¡]",
    "Cyrillic": "[а-я]",
    "Greek": "[α-ω]",
    "Arabic": "[\u0627-\u064a]",
    "Hebrew": "[א-ת]",
    "Devanagari": "[\u0904-\u0939]",
    "Han": "[\u4e00-\u9fff]",
    "Kana": "[ぁ-ヿ]",
    "Hangul": "[가-힣]",
}


def parse(line: str) -> object:
    """The value of a line, or None for a broken one."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Every row that data prep accepts, as written in the file."""
    kept = []
    for name in FILES:
        for value in map(parse, (TINY / name).read_text(encoding="utf-8").splitlines()):
            try:
                parse_row(value)
            except RowError:
                continue
            assert isinstance(value, dict)
            kept.append(value)
    return kept


def texts(row: Row) -> str:
    """All that is said in a row, as one text."""
    return "\n".join(
        message.get(field) or ""
        for message in row["messages"]
        for field in ("content", "reasoning_content")
        if isinstance(message.get(field) or "", str)
    )


def roles(row: Row) -> list[str]:
    return [message["role"] for message in row["messages"]]


def calls(row: Row) -> list[Any]:
    return [call for message in row["messages"] for call in message.get("tool_calls", ())]


def test_there_are_at_least_300_conversations_in_the_shares_of_the_blend(rows: list[Row]) -> None:
    blend = json.loads((DATA_PREP / "blend_tiny.json").read_text())["datasets"]
    per_file = Counter(row["id"].split("-")[0] for row in rows)
    assert sum(per_file.values()) >= 300
    for dataset in blend:
        assert per_file[Path(dataset["path"]).stem] == dataset["weight"] * len(rows)


@pytest.mark.parametrize(
    ("kind", "at_least"),
    {
        "single turn": 100,
        "multi-turn": 100,
        "with a system message": 100,
        "without one": 100,
        "developer role": 4,
        "function role": 2,
        "reasoning_content": 100,
        "inline think": 10,
        "reasoning in some turns only": 10,
        "tool results": 50,
        "parallel calls": 10,
        "tools without a call": 3,
        "arguments as text": 20,
        "arguments as object": 20,
        "arguments null": 1,
        "content null": 20,
        "content parts": 4,
        "train: false": 4,
        "assistant first": 2,
        "assistants in a row": 2,
        "code": 20,
        "an earlier release only": 20,
    }.items(),
)
def test_kinds(rows: list[Row], kind: str, at_least: int) -> None:
    predicates = {
        "single turn": lambda row: roles(row).count("user") == 1,
        "multi-turn": lambda row: roles(row).count("user") > 1,
        "with a system message": lambda row: roles(row)[0] == "system",
        "without one": lambda row: roles(row)[0] == "user",
        "developer role": lambda row: "developer" in roles(row),
        "function role": lambda row: "function" in roles(row),
        "reasoning_content": lambda row: any(m.get("reasoning_content") for m in row["messages"]),
        "inline think": lambda row: "<think>" in texts(row),
        "reasoning in some turns only": lambda row: (
            len({bool((m.get("reasoning_content") or "").strip()) for m in row["messages"] if m["role"] == "assistant"})
            == 2
        ),
        "tool results": lambda row: "tool" in roles(row),
        "parallel calls": lambda row: any(len(m.get("tool_calls", ())) > 1 for m in row["messages"]),
        "tools without a call": lambda row: bool(row.get("tools")) and not calls(row),
        "arguments as text": lambda row: any(isinstance(c["function"]["arguments"], str) for c in calls(row)),
        "arguments as object": lambda row: any(isinstance(c["function"]["arguments"], dict) for c in calls(row)),
        "arguments null": lambda row: any(c["function"]["arguments"] is None for c in calls(row)),
        "content null": lambda row: any(m["content"] is None for m in row["messages"]),
        "content parts": lambda row: any(isinstance(m["content"], list) for m in row["messages"]),
        "train: false": lambda row: any(m.get("train") is False for m in row["messages"]),
        "assistant first": lambda row: roles(row)[0] == "assistant",
        "assistants in a row": lambda row: ("assistant", "assistant") in zip(roles(row), roles(row)[1:], strict=False),
        "code": lambda row: "```" in texts(row),
        "an earlier release only": lambda row: row["used_in"] == ["nano_v3"],
    }
    assert sum(map(predicates[kind], rows)) >= at_least


@pytest.mark.parametrize(("script", "pattern"), SCRIPTS.items())
def test_languages(rows: list[Row], script: str, pattern: str) -> None:
    assert sum(bool(re.search(pattern, texts(row))) for row in rows) >= 3, script


def test_a_few_are_longer_than_4096_tokens(rows: list[Row], tokenizer: Tokenizer) -> None:
    lengths = [len(tokenizer.encode(texts(row)).ids) for row in rows]
    assert 3 <= sum(length > 4096 for length in lengths) <= 8


def test_some_conversations_are_exact_duplicates(rows: list[Row]) -> None:
    times = Counter(content_hash(parse_row(row)) for row in rows)
    assert sum(count - 1 for count in times.values()) >= 4


def test_broken_rows_are_dropped_each_for_its_own_reason() -> None:
    reasons = []
    for name in FILES:
        for line in (TINY / name).read_text(encoding="utf-8").splitlines():
            try:
                parse_row(json.loads(line))
            except json.JSONDecodeError:
                reasons.append("bad_json")
            except RowError as error:
                reasons.append(str(error.reason))
    assert Counter(reasons) == {
        "bad_json": 1,
        "not_an_object": 1,
        "no_messages": 2,
        "bad_message": 1,
        "bad_role": 1,
        "bad_content": 1,
        "no_assistant_turn": 1,
        "bad_tool_arguments": 1,
        "bad_tools": 1,
    }


def test_every_calculation_in_the_data_is_right(rows: list[Row]) -> None:
    said = "\n".join(map(texts, rows))
    forward = re.findall(r"(\d+(?: [-+*] \d+)+) = (\d+)(?! [-+*])", said)
    backward = re.findall(r"(?<![-+*] )\b(\d+) = (\d+(?: [-+*] \d+)+)", said)
    assert len(forward) > 300
    assert len(backward) > 20
    wrong = [pair for pair in forward + backward if eval(pair[0]) != eval(pair[1])]
    assert wrong == []


def test_tool_results_answer_the_calls_before_them(rows: list[Row]) -> None:
    for row in rows:
        open_calls: list[str] = []
        for message in row["messages"]:
            if message["role"] in ("tool", "function"):
                asked = open_calls.pop(0)
                assert message.get("tool_call_id", asked) == asked, row["id"]  # `function` results carry no id
            else:
                assert open_calls == [], row["id"]
            open_calls += [call["id"] for call in message.get("tool_calls", ())]


@pytest.mark.parametrize(
    ("script", "folder", "names"),
    [("make_tiny_data.py", TINY, FILES), ("make_tiny_tokenizer.py", TINY / "tokenizer", TOKENIZER_FILES)],
)
def test_the_scripts_reproduce_the_committed_bytes(
    tmp_path: Path, script: str, folder: Path, names: tuple[str, ...]
) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / script, tmp_path], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TINY / "tokenizer" / "tokenizer.json"))


def test_vocabulary_size(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 2048


@pytest.mark.parametrize("token", FORMAT_TOKENS)
def test_the_tokens_of_the_format_are_single(tokenizer: Tokenizer, token: str) -> None:
    around = tokenizer.encode(f"a{token}\nb").tokens
    assert around == ["a", token, "Ċ", "b"]  # Ċ is how byte-level BPE writes a newline


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("2048 = 1024").tokens == ["2", "0", "4", "8", "Ġ=", "Ġ", "1", "0", "2", "4"]


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.slow
def test_transformers_loads_it_with_im_end_as_eos() -> None:
    from transformers import PreTrainedTokenizerFast

    loaded = PreTrainedTokenizerFast.from_pretrained(TINY / "tokenizer")
    assert loaded.eos_token == "<|im_end|>"
    assert loaded.bos_token == "<s>"
    assert loaded.pad_token_id != loaded.eos_token_id
    spoken = "<think>\nEasy.\n</think>\nYes — 東京.<|im_end|>"
    ids = loaded.encode(spoken, add_special_tokens=True)
    assert ids[-1] == loaded.eos_token_id
    assert ids.count(loaded.eos_token_id) == 1
    assert loaded.decode(ids, skip_special_tokens=True) == spoken.removesuffix("<|im_end|>")
