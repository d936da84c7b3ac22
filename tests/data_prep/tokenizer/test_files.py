"""A tokenizer's folder may be anybody's: whatever is in it, an error names file and value, and no process ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenizer import files
from nemotron.data_prep.tokenizer.files import (
    LARGEST_ID,
    LONGEST_ADDED_TOKEN,
    _check_largest_id,
    check_added_tokens,
    read_added_tokens,
    read_definition,
    read_ids,
    read_settings,
)
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.errors import UserError


@pytest.fixture
def folder(byte_tokenizer: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    (tmp_path / "tokenizer.json").write_bytes((byte_tokenizer / "tokenizer.json").read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("tokenizer.json", b"{", "broken tokenizer.json"),
        ("tokenizer.json", b"\xff", "tokenizer.json is not UTF-8"),
        ("tokenizer_config.json", b"{", "tokenizer_config.json:1"),
        ("tokenizer_config.json", b"[1]", "tokenizer_config.json"),
        ("tokenizer_config.json", b'{"eos_token": {"content": [1]}}', r"tokenizer_config.json: eos_token is .*\[1\]"),
        ("tokenizer_config.json", b'{"bos_token": true}', "tokenizer_config.json: bos_token is true"),
        ("special_tokens_map.json", b'{"pad_token": 3}', "special_tokens_map.json: pad_token is 3"),
        ("tokenizer_config.json", b'{"chat_template": 5}', "tokenizer_config.json: chat_template is 5"),
        ("tokenizer_config.json", b'{"chat_template": [{"name": "x"}]}', "chat_template is .*x"),
        ("tokenizer_config.json", b'{"chat_template": [{"name": "x", "template": "y"}, 5]}', "chat_template is .*5"),
        ("chat_template.jinja", b"\xff", "chat_template.jinja"),
    ],
)
def test_a_broken_file_is_named_with_what_to_do(folder: Path, file: str, content: bytes, named: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=named) as error:
        load_tokenizer(TokenizerConfig(model=str(folder)))
    assert error.value.hint


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_gigabytes_are_not_read(folder: Path, file: str) -> None:
    with open(folder / file, "wb") as opened:
        opened.truncate(3 * 10**9)  # a hole: it takes no space
    with pytest.raises(UserError, match=f"{file} .*3,000,000,000"):
        load_tokenizer(TokenizerConfig(model=str(folder)))


def in_vocabulary(definition: dict, id: int) -> None:
    definition["model"]["vocab"]["!"] = id


def among_added(definition: dict, id: int) -> None:
    definition["added_tokens"][0]["id"] = id


@pytest.mark.parametrize("place", [in_vocabulary, among_added])
@pytest.mark.parametrize("id", [-1, 500_000, 2_000_000_000, 4_294_967_295, 5_000_000_000])
def test_ids_beyond_the_vocabulary_are_refused(folder: Path, place: Callable, id: int) -> None:
    definition = json.loads((folder / "tokenizer.json").read_text())
    place(definition, id)
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(UserError, match=rf"{id:,}|{id}"):
        load_tokenizer(TokenizerConfig(model=str(folder)))


def test_a_number_in_a_token_is_no_id(folder: Path) -> None:
    definition = json.loads((folder / "tokenizer.json").read_text())
    definition["model"]["vocab"]['"x": 5000000000'] = definition["model"]["vocab"].pop("!")
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    assert read_definition(folder)


def test_several_templates_have_names(folder: Path) -> None:
    listed = [{"name": "default", "template": "\ufeffplain"}, {"name": "tool_use", "template": "tools"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": listed}))
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("documents")

    assert read_settings(folder) == ({}, {"default": "plain", "tool_use": "tools", "rag": "documents"})


def test_a_template_file_replaces_the_default(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "older"}))
    (folder / "chat_template.jinja").write_text("newer")

    assert read_settings(folder) == ({}, "newer")


def test_of_two_files_that_name_a_special_token_the_config_wins(folder: Path) -> None:
    """As in transformers: special_tokens_map.json is the older one, and fills in what the other leaves out."""
    others = {"pad_token": "<think>", "bos_token": "<s>", "unk_token": "<?>"}
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</think>", **others, "sep_token": "-"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}}))
    assert read_settings(folder)[0] == {"eos_token": "<|im_end|>", **others}


def test_line_ends_of_another_system_are_those_of_this_one(tmp_path: Path) -> None:
    """A copy made on Windows has the same digest."""
    (tmp_path / "tokenizer.json").write_bytes(b'{\r\n"a": 1\r}\n')
    assert read_definition(tmp_path) == b'{\n"a": 1\n}\n'


def test_an_id_that_no_vocabulary_has_is_refused_wherever_it_stands():
    for largest, refused in ((LARGEST_ID - 1, False), (LARGEST_ID, True)):
        for vocab, added in (({"a": largest}, 0), ({"a": 0}, largest)):
            definition = {"model": {"vocab": vocab}, "added_tokens": [{"content": "b", "id": added}]}
            if refused:
                with pytest.raises(UserError, match=f"{largest:,}"):
                    _check_largest_id(json.dumps(definition).encode(), "mine")
            else:
                _check_largest_id(json.dumps(definition).encode(), "mine")


@pytest.mark.parametrize("length", [LONGEST_ADDED_TOKEN, LONGEST_ADDED_TOKEN + 1])
def test_an_added_token_that_is_too_long_is_refused_before_the_library_loads_it(length: int) -> None:
    definition = json.dumps({"added_tokens": [{"content": "<s>"}, {"content": "x" * length}]}).encode()
    if length <= LONGEST_ADDED_TOKEN:
        check_added_tokens(definition, "mine")
    else:
        with pytest.raises(UserError, match=r"mine has an added token of 1,001 characters, 'xxx"):
            check_added_tokens(definition, "mine")


@pytest.mark.parametrize("added", ['[{"content": 5}]', "[5]", "[{}]", '[{"content": "a"', "[[[", "[]"])
def test_broken_added_tokens_are_left_to_the_library(added: str) -> None:
    check_added_tokens(f'{{"added_tokens": {added}'.encode(), "mine")


@pytest.mark.parametrize("vocabulary", [{"a": 0, "b": 1}, [["a", -1.5], ["b", -2.5]]])
def test_the_ids_are_those_of_the_vocabulary_and_of_added_tokens(vocabulary: object) -> None:
    """In a Unigram model a token's place is its id."""
    added = [{"content": "b", "id": 1}, {"content": "c", "id": 2}]
    definition = {"model": {"vocab": vocabulary}, "added_tokens": added}
    assert read_ids(json.dumps(definition).encode()) == {"a": 0, "b": 1, "c": 2}
    assert read_ids(json.dumps({"model": {"vocab": vocabulary}}).encode()) == {"a": 0, "b": 1}


def test_a_definition_with_such_an_id_is_not_handed_on(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 5000000000}}}')
    with pytest.raises(UserError, match="'a' the id 5,000,000,000"):
        read_definition(tmp_path)


def test_the_ids_of_added_tokens_are_looked_at_whatever_the_vocabulary_is() -> None:
    definition = {"model": {"vocab": [["a", -1.5]]}, "added_tokens": [{"content": "b", "id": LARGEST_ID}]}
    with pytest.raises(UserError, match="'b'"):
        _check_largest_id(json.dumps(definition).encode(), "mine")


@pytest.mark.parametrize("broken", ["{", "[]", '{"model": {}}', '{"model": {"vocab": {"a": "x"}}}', '{"model": null}'])
def test_a_broken_definition_is_left_to_the_library(broken: str) -> None:
    _check_largest_id(broken.encode(), "mine")


def test_a_chat_template_of_the_settings_is_the_only_one(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "\ufeffHi", "eos_token": None}))
    assert read_settings(folder) == ({}, "Hi")


def test_added_tokens_are_read_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ADDED_TOKENS_BYTES", 7)
    added = [{"content": f"<é{number}>", "id": number} for number in range(20)]
    definition = json.dumps({"added_tokens": added, "model": {"vocab": {}}}, ensure_ascii=False).encode()
    assert read_added_tokens(definition) == added
    assert read_added_tokens(b'{"model": {}}') == []
    with pytest.raises(json.JSONDecodeError):
        read_added_tokens(b'{"added_tokens": [{"content": "a"}, {"content"')
    check_added_tokens(b'{"added_tokens": ' + b"[" * 100_000, "mine")
