"""The tokenizer seam: flat ids, the ids known by name, and errors that say what to set."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as HfTokenizer

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenization.tokenizer import END_OF_TURN, Tokenizer, load_tokenizer
from nemotron.errors import UserError


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer: Path) -> Tokenizer:
    return load_tokenizer(TokenizerConfig(model=str(byte_tokenizer)))


def test_texts_come_back_flat_with_their_lengths(tokenizer: Tokenizer) -> None:
    ids, lengths = tokenizer.encode(["ab", "", "é<|im_end|>"])
    assert lengths.tolist() == [2, 0, 3]  # é is two bytes
    assert ids.dtype == "int32"
    assert ids[-1] == tokenizer.end_id


@given(texts=st.lists(st.text(max_size=20), max_size=6))
def test_flat_ids_are_the_ids_of_each_text_alone(tokenizer: Tokenizer, texts: list[str]) -> None:
    ids, lengths = tokenizer.encode(texts)
    reference = HfTokenizer.from_str(tokenizer.definition.decode())
    expected = [reference.encode(text, add_special_tokens=False).ids for text in texts]
    assert ids.tolist() == [token for row in expected for token in row]
    assert lengths.tolist() == [len(row) for row in expected]
    assert tokenizer.encode_chunks(texts) == expected


@pytest.mark.parametrize("text", ["日本語 😀 é", "a\ufffdb", "plain"])
def test_pieces_join_to_the_text_and_cut_no_character(tokenizer: Tokenizer, text: str) -> None:
    [ids] = tokenizer.encode_chunks([text])
    pieces = tokenizer.pieces(ids)
    assert [token for token, _ in pieces] == ids
    assert "".join(piece for _, piece in pieces) == text


def test_a_part_of_a_character_that_never_comes_is_shown_by_a_mark(tokenizer: Tokenizer) -> None:
    [ids] = tokenizer.encode_chunks(["日"])
    assert "".join(piece for _, piece in tokenizer.pieces(ids[:-1])).strip("\ufffd") == ""


def test_what_never_becomes_a_character_takes_no_other_text(tokenizer: Tokenizer) -> None:
    """Four bytes are the most that a character has: the fifth begins another."""
    [emoji, letters] = tokenizer.encode_chunks(["😀", "hi"])
    *_, (last, mark), (_, h), (_, i) = tokenizer.pieces([*emoji[-1:] * 4, *letters])
    assert (last, mark.strip("\ufffd"), h, i) == (emoji[-1], "", "h", "i")


def test_the_ids_known_by_name(tokenizer: Tokenizer) -> None:
    assert (tokenizer.end_id, tokenizer.eos_id, tokenizer.pad_id) == (257, 257, 257)
    assert tokenizer.vocab_size == 260


def test_the_special_tokens_are_those_that_the_definition_calls_so(tmp_path: Path) -> None:
    backend = HfTokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    backend.add_special_tokens(["<|im_end|>", "<s>"])
    backend.add_tokens([AddedToken("<tool_call>", special=False)])
    backend.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(TokenizerConfig(model=str(tmp_path))).special_tokens.names == ("<s>", "<|im_end|>")


def test_a_copy_sent_to_a_worker_encodes_alike(tokenizer: Tokenizer) -> None:
    tokenizer.encode(["warm"])
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode(["hello"]).ids.tolist() == tokenizer.encode(["hello"]).ids.tolist()
    assert copy.digest == tokenizer.digest


def test_another_eos_is_another_tokenizer(byte_tokenizer: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((byte_tokenizer / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</think>", "pad_token": "<think>"}))
    other = load_tokenizer(TokenizerConfig(model=str(tmp_path)))
    assert other.eos_id != tokenizer.eos_id
    assert [other.pad_id] == other.encode(["<think>"]).ids.tolist()
    assert other.end_id == tokenizer.end_id
    assert other.digest != tokenizer.digest


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(UserError, match="/nowhere/tokenizer") as error:
        load_tokenizer(TokenizerConfig(model="/nowhere/tokenizer"))
    assert "tokenizer.model" in (error.value.hint or "")


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


@pytest.mark.parametrize("trusted", [False, True])
def test_python_in_a_tokenizer_folder_runs_only_where_it_is_trusted(
    byte_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "planted"
    shutil.copytree(byte_tokenizer, folder)
    (folder / "planted.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'was-here')!r}).touch()\n"
        "from transformers import PreTrainedTokenizerFast\nclass Planted(PreTrainedTokenizerFast): ...\n"
    )
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["eos_token"] = END_OF_TURN  # a class of one's own takes text only
    settings["auto_map"] = {"AutoTokenizer": [None, "planted.Planted"]}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "Planted"}))
    load_tokenizer(TokenizerConfig(model=str(folder), trust_remote_code=trusted))
    assert (tmp_path / "was-here").exists() == trusted


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
