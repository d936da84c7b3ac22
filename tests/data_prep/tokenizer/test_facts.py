"""What is found out about a tokenizer once the library has loaded it, and which are refused."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import models, processors

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenizer.facts import _check_ids, _check_steps, _explain_failures, find_facts
from nemotron.data_prep.tokenizer.files import read_ids
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.errors import UserError


def test_an_eos_token_outside_the_vocabulary_is_refused(byte_tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((byte_tokenizer / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|elsewhere|>"}))
    with pytest.raises(UserError, match=r"eos_token '<\|elsewhere\|>'"):
        load_tokenizer(TokenizerConfig(model=str(tmp_path)))


def test_a_tokenizer_that_cannot_end_a_turn_is_refused(tmp_path: Path) -> None:
    HfTokenizer(models.BPE(vocab={"a": 0}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"<\|im_end\|> .*eos"):
        load_tokenizer(TokenizerConfig(model=str(tmp_path)))


def test_a_tokenizer_that_fails_on_most_texts_is_refused(tmp_path: Path) -> None:
    HfTokenizer(models.Unigram([("<|im_end|>", 0.0), ("<|im_start|>", 0.0)])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="unk_id"):
        load_tokenizer(TokenizerConfig(model=str(tmp_path)))


def test_a_vocabulary_with_holes_is_as_large_as_its_largest_id_says(tmp_path: Path) -> None:
    """Megatron makes a row for every id: one too few would end training in the middle."""
    vocabulary = {"<|im_end|>": 0, "a": 3, "b": 9}
    HfTokenizer(models.WordLevel(vocabulary, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(TokenizerConfig(model=str(tmp_path)))
    assert tokenizer.vocab_size == 10
    assert tokenizer.encode(["b"]).ids.tolist() == [9]


def replacing(pattern: str, content: str, steps: int) -> dict[str, Any]:
    step = {"type": "Replace", "pattern": {"String": pattern}, "content": content}
    return {"normalizer": {"type": "Sequence", "normalizers": [step] * steps}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": {"dropout": 0.5}}, "dropout 0.5"),
        (replacing("e", "ee", 14), "16,478 characters of 96"),
        (replacing("e", "e" * 1000, 20), "2,000,094 characters of 96"),  # of which the next step would make a gigabyte
        (replacing("\u597d", "\u597d" * 200, 3), "40,095 characters of 96"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}] * 201}}, "has 201 steps"),
        (replacing("e", "x", 201), "has 201 steps"),
        (replacing("e", "x" * 1001, 1), "1,001 characters, 'xxxx"),
        ({"normalizer": {"type": "Prepend", "prepend": "x" * 1001}}, "1,001 characters, 'xxxx"),
    ],
)
def test_a_tokenizer_whose_ids_are_not_those_of_the_text_is_refused(
    byte_tokenizer: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    definition = json.loads((byte_tokenizer / "tokenizer.json").read_text())
    definition["model"] |= changes.get("model", {})
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({**definition, **{key: changes[key] for key in changes if key != "model"}})
    )
    with pytest.raises(UserError, match=named):
        load_tokenizer(TokenizerConfig(str(tmp_path)))


@pytest.mark.parametrize(
    ("normalizer", "decoder", "changes"),
    [
        (None, {"type": "ByteLevel"}, ""),
        ({"type": "NFC"}, {"type": "ByteLevel"}, ""),
        ({"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "ByteLevel"}, ""),
        ({"type": "Lowercase"}, {"type": "ByteLevel"}, '"is it a{1}; if b == 7?'),
        ({"type": "Lowercase"}, None, ""),  # what the ids mean is not known
    ],
)
def test_a_tokenizer_that_loses_letters_says_how_a_text_comes_back(
    byte_tokenizer: Path, tmp_path: Path, normalizer: dict | None, decoder: dict | None, changes: str
) -> None:
    definition = json.loads((byte_tokenizer / "tokenizer.json").read_text())
    changed = {**definition, "normalizer": normalizer, "decoder": decoder and {**definition["decoder"], **decoder}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed))
    found = load_tokenizer(TokenizerConfig(str(tmp_path))).changes
    assert (found.startswith(changes), bool(found)) == (True, bool(changes))


def test_a_tokenizer_that_takes_minutes_to_load_is_refused_before(
    byte_tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nemotron.data_prep.tokenizer.files.LONGEST_ADDED_TOKEN", 11)
    with pytest.raises(UserError, match=r"mine has an added token of 12 characters, '<\|im_start\|>'"):
        find_facts("mine", (byte_tokenizer / "tokenizer.json").read_bytes(), {})


def test_what_the_library_prints_when_it_panics_is_not_shown(
    byte_tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    definition = json.loads((byte_tokenizer / "tokenizer.json").read_text())
    definition["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(UserError, match="precompiled_charsmap"):
        load_tokenizer(TokenizerConfig(str(tmp_path)))
    assert capfd.readouterr().err == ""
    os.write(2, b"and what follows is\n")
    assert capfd.readouterr().err == "and what follows is\n"


def test_the_facts_are_of_texts_without_the_tokens_that_are_added_to_each(byte_tokenizer: Path) -> None:
    backend = HfTokenizer.from_file(str(byte_tokenizer / "tokenizer.json"))
    ids = backend.get_vocab(with_added_tokens=True)
    backend.post_processor = processors.TemplateProcessing(
        single="<think> $A", special_tokens=[("<think>", ids["<think>"])]
    )
    facts = find_facts("mine", backend.to_str().encode(), {"eos_token": "</think>", "pad_token": "<think>"})
    special = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
    assert facts == {
        "end_id": ids["<|im_end|>"], "eos_id": ids["</think>"], "pad_id": ids["<think>"], "vocab_size": len(ids),
        "special": special, "single_ids": {token: ids[token] for token in special}, "marks_word_starts": False,
        "is_cut_before_turns": True, "changes": "",
    }  # fmt: skip
    assert read_ids(backend.to_str().encode()) == ids


def test_a_control_token_of_several_tokens_has_no_id(tmp_path: Path) -> None:
    """And one that is a token only together with what comes before it does not cut the text."""
    vocabulary = {character: number for number, character in enumerate("abcdefghijklmnopqrstuvwxyz<|_>\n A?I")}
    merges = [("\n", "<")]
    vocabulary |= {"".join(merge): len(vocabulary) + number for number, merge in enumerate(merges)}
    backend = HfTokenizer(models.BPE(vocabulary, merges))
    facts = find_facts("mine", backend.to_str().encode(), {"eos_token": "z"})
    assert facts["single_ids"] == {"<|im_start|>": None, "<|im_end|>": None, "z": vocabulary["z"]}
    assert facts["end_id"] == facts["eos_id"] == facts["pad_id"] == vocabulary["z"]
    assert facts["is_cut_before_turns"] is False


def test_ids_may_have_gaps_but_not_large_ones() -> None:
    _check_ids(b"{}", {"a": 0, "b": 100_004}, "mine")
    _check_ids(b"{}", {}, "mine")
    with pytest.raises(UserError, match=r"'b' the id 100,005, .* 2 tokens"):
        _check_ids(b"{}", {"a": 0, "b": 100_005}, "mine")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, UserError("why")])
def test_what_is_no_fault_of_the_file_is_not_called_one(error: Any) -> None:
    with pytest.raises(error if isinstance(error, type) else UserError) as raised, _explain_failures("mine"):
        raise error
    assert "broken" not in str(raised.value)


def test_two_hundred_steps_are_allowed() -> None:
    steps: Any = SimpleNamespace(normalizer=object(), pre_tokenizer=[object()] * 200)
    _check_steps(steps, "mine")
    steps.normalizer = [object(), [object()] * 200]
    with pytest.raises(UserError, match="normalizer of the tokenizer mine has 201 steps"):
        _check_steps(steps, "mine")
