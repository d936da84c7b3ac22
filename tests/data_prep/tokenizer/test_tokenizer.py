"""The tokenizer seam: flat ids, the ids known by name, and errors that say what to set."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as HfTokenizer

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer


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
    assert tokenizer.pieces(ids[:-1]) == [[token, "\ufffd"] for token in ids[:-1]]


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


def test_the_digest_is_of_all_that_decides_the_ids(byte_tokenizer: Path, tokenizer: Tokenizer) -> None:
    definition = (byte_tokenizer / "tokenizer.json").read_bytes()
    said = f"{tokenizer.end_id} {tokenizer.eos_id} {tokenizer.pad_id}\n".encode() + definition
    assert tokenizer.digest == hashlib.blake2b(said, digest_size=16).hexdigest()
    assert tokenizer.definition_digest == hashlib.sha256(definition).hexdigest()
    bare = replace(tokenizer)  # without what is remembered
    assert bare.definition_digest == tokenizer.definition_digest


def test_another_encoder_is_the_same_tokenizer(tokenizer: Tokenizer) -> None:
    other = replace(tokenizer).encoding_with("gigatoken")
    assert (other.encoder, tokenizer.encoder) == ("gigatoken", "tokenizers")
    assert other.__dict__.keys() >= {"digest", "definition_digest"}  # hashing takes time
    assert (other.digest, other.definition_digest) == (tokenizer.digest, tokenizer.definition_digest)


def test_what_a_library_loaded_is_not_sent_to_workers(tokenizer: Tokenizer) -> None:
    tokenizer.encode(["warm"])
    assert tokenizer.text(tokenizer.encode(["a"]).ids.tolist()) == "a"
    assert tokenizer.pieces([0])
    assert not {"_encode", "text", "decoder"} & tokenizer.__getstate__().keys()


def test_control_tokens_are_pieces_too(tokenizer: Tokenizer) -> None:
    [ids] = tokenizer.encode_chunks(["a<|im_end|>"])
    assert tokenizer.pieces(ids) == [[ids[0], "a"], [tokenizer.end_id, "<|im_end|>"]]
    [begun] = tokenizer.encode_chunks(["日"])
    assert [token for token, _ in tokenizer.pieces(begun[:-1])] == begun[:-1]
