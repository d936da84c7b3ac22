"""The encoders are compared once for a tokenizer, and again for text in a writing system that was not compared."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.sources import Part, cut, find_files
from nemotron.data_prep.sources.blend import read_blend
from nemotron.data_prep.tokenizer import encoder_choice, facts
from nemotron.data_prep.tokenizer.encoder_choice import choose_for_run
from nemotron.data_prep.tokenizer.encoders import Encoded, fast_ids
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer


class Counted:
    """The fast encoder, counting how often it is compared."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, definition: bytes, texts: Sequence[str]) -> Encoded | str:
        self.times += 1
        return fast_ids(definition, texts)


def parts(folder: Path, text: str) -> list[Part]:
    file = folder / "rows.jsonl"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": text}]}))
    (dataset,) = read_blend(str(file)).datasets
    return cut(find_files(dataset)[0])


@pytest.fixture
def loaded(byte_tokenizer: Path) -> Tokenizer:
    return load_tokenizer(TokenizerConfig(model=str(byte_tokenizer)))


def test_the_same_writing_systems_are_compared_once(loaded: Tokenizer, tmp_path: Path) -> None:
    compared = Counted()
    for text in ("Hello", "Bye", "hi there"):
        assert choose_for_run("auto", loaded, parts(tmp_path, text), compared).name == "gigatoken"
    assert compared.times == 1
    assert choose_for_run("auto", loaded, parts(tmp_path, "Hello, 世界"), compared).name == "gigatoken"
    assert compared.times == 2
    choose_for_run("auto", loaded, parts(tmp_path, "世界"), compared)
    choose_for_run("auto", loaded, parts(tmp_path, "Hello"), compared)
    assert compared.times == 2


def test_a_further_writing_system_does_not_make_the_earlier_ones_forgotten(loaded: Tokenizer, tmp_path: Path) -> None:
    compared = Counted()
    for text in ("Привет", "世界", "Привет", "世界"):
        choose_for_run("auto", loaded, parts(tmp_path, text), compared)
    assert compared.times == 2


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", set()),
        ("Hi \u00e9", {0}),
        ("\u0416 \u1fff", {0, 0x04, 0x1F}),
        ("\u2000 \u4e16 \U0001f642", {0, 0x1002, 0x1004, 0x101F}),
        ("\ud800", {0x100D}),  # half of a pair
    ],
)
def test_writing_systems_are_blocks_of_code_points(text: str, blocks: set[int]) -> None:
    """Of 256 below U+2000, and of 4,096 from there, which are counted from 0x1000."""
    assert encoder_choice._scripts([text]) == blocks
    assert encoder_choice._scripts([*text]) == blocks


def test_all_strings_of_a_row_are_looked_at_and_its_other_values_are_not() -> None:
    row = {"a": "x", "b": [1, None, {"c": ["y", True]}], "z": {}}
    assert sorted(encoder_choice._strings(row)) == ["x", "y"]


def test_another_version_of_a_library_is_compared(
    loaded: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = Counted()
    choose_for_run("auto", loaded, parts(tmp_path, "Hello"), compared)
    monkeypatch.setattr(encoder_choice, "version_of", lambda package: f"{package}-99")
    choose_for_run("auto", loaded, parts(tmp_path, "Hello"), compared)
    assert compared.times == 2


def test_a_difference_is_never_remembered(loaded: Tokenizer, tmp_path: Path) -> None:
    for _ in range(2):
        choice = choose_for_run("auto", loaded, parts(tmp_path, "Hello"), lambda *_: "it fails")
        assert choice == ("tokenizers", "it fails")


def test_a_known_tokenizer_is_not_loaded_to_describe_it(byte_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_tokenizer(TokenizerConfig(model=str(byte_tokenizer)))

    def refuse(_: str) -> None:
        raise AssertionError("the library loads it")

    monkeypatch.setattr(facts, "hugging_face", refuse)
    assert load_tokenizer(TokenizerConfig(model=str(byte_tokenizer))) == first


@pytest.mark.parametrize(
    "texts",
    [
        ["Hello<|im_end|>\n", "", "世界 🙂", "a  b"],
        ["", ""],
        ["<think>"],
        [],
        ["<|im_start|><|im_end|><think></think>", "every control token is in the text", "<|im_", "start|>"],
    ],
)
def test_text_by_text_and_as_one_text_the_ids_are_the_same(
    byte_tokenizer: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    from nemotron.data_prep.tokenizer import encoders

    definition = (byte_tokenizer / "tokenizer.json").read_bytes()
    assert list(encoders._find_separators(definition)) == ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    together = encoders._gigatoken.__wrapped__(definition)(texts)
    monkeypatch.setattr(encoders, "_find_separators", lambda _: {})
    alone = encoders._gigatoken.__wrapped__(definition)(texts)
    assert alone.ids.tolist() == together.ids.tolist()
    assert alone.lengths.tolist() == together.lengths.tolist()
    assert alone.ids.dtype == together.ids.dtype


@pytest.mark.parametrize(
    ("name", "others", "expected"),
    [
        ("<unk>", ["<s>", "</s>", "[INST]", "  "], True),
        ("<unk>", ["<unk", "<s>"], False),
        ("<unk>", ["<unk><s>"], False),
        ("<unk>", ["a<"], False),
        ("<unk>", ["k>b"], False),
        ("<unk>", ["n"], False),
        ("aba", [], False),
    ],
)
def test_a_token_stands_alone_where_no_other_can_overlap_it(name: str, others: list[str], expected: bool) -> None:
    from nemotron.data_prep.tokenizer import encoders

    assert encoders._stands_alone(name, [name, *others]) is expected
