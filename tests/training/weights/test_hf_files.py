"""The files of an export besides its weights: what generation stops at, and a tokenizer as it was released."""

import json
from pathlib import Path

import pytest
from tests.stand_ins import put_modules

from nemotron.training.weights import hf_files
from nemotron.training.weights.hf_files import (
    _has_chat_template,
    generation_config,
    local_folder,
    write_model_files,
    write_tokenizer,
)

CONFIG = Path(__file__).parents[3] / "config"
TINY_TOKENIZER = CONFIG / "data_prep" / "tiny" / "tokenizer"
IM_END = 5


def test_generation_stops_at_the_end_of_a_turn_besides_what_the_source_stops_at():
    """As released: eos 2 in config.json, [2, 11] in generation_config.json. A server without the latter never stops."""
    released = {"do_sample": True, "temperature": 1.0, "eos_token_id": [2, 11]}
    assert generation_config({"eos_token_id": 2}, released, [11]) == released
    # What the source's own file says goes before config.json.
    assert generation_config({"eos_token_id": 2}, {"eos_token_id": [7]}, [11]) == {"eos_token_id": [7, 11]}
    assert generation_config({"eos_token_id": 2}, {**released, "eos_token_id": 2}, [11]) == released


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"eos_token_id": 2, "bos_token_id": 1}, {"bos_token_id": 1, "eos_token_id": [2, 11]}),
        ({"eos_token_id": 11}, {"eos_token_id": 11}),
        ({}, {"eos_token_id": 11}),
    ],
)
def test_without_a_generation_config_one_is_made_of_the_config(config, expected):
    assert generation_config(config, None, [11]) == expected


def test_the_sources_generation_config_and_code_come_along(tmp_path):
    source, export = tmp_path / "source", tmp_path / "export"
    source.mkdir()
    export.mkdir()
    config = '{"eos_token_id": 2,   "auto_map": {"AutoConfig": "configuration_x.XConfig"}}\n'
    (source / "config.json").write_text(config)
    (source / "generation_config.json").write_text('{"eos_token_id": [2], "top_p": 0.95}')
    (source / "configuration_x.py").write_text("class XConfig: ...\n")
    write_model_files(export, str(source), [11])
    assert (export / "config.json").read_text() == config
    assert (export / "configuration_x.py").is_file()
    assert json.loads((export / "generation_config.json").read_text()) == {"eos_token_id": [2, 11], "top_p": 0.95}


def test_of_a_model_of_the_hub_the_configs_and_the_code_are_downloaded(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        hf_files, "local_folder", lambda name, patterns: asked.append({*patterns}) or CONFIG / "tiny_model"
    )
    write_model_files(tmp_path, "org/name", [11])
    assert asked == [{"config.json", "generation_config.json", "*.py"}]


@pytest.mark.parametrize(
    ("settings", "file", "has"),
    [
        (None, None, False),
        ({}, None, False),
        ({"chat_template": ""}, None, False),
        ({"chat_template": "{{ messages }}"}, None, True),
        (None, "chat_template.jinja", True),
        ({}, "chat_template.json", True),
        ({}, "additional_chat_templates", True),
        ({}, "other.jinja", False),
    ],
)
def test_a_chat_template_stands_in_the_settings_or_next_to_them(tmp_path, settings, file, has):
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    if file is not None:
        (tmp_path / file).touch()
    assert _has_chat_template(tmp_path) is has


def test_a_tokenizers_files_are_copied_as_they_are(tmp_path):
    assert write_tokenizer(tmp_path, str(TINY_TOKENIZER)) == [IM_END]
    for file in TINY_TOKENIZER.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_a_tokenizer_without_a_chat_template_gets_the_bundled_one_and_one_with_keeps_its_own(tmp_path):
    write_tokenizer(tmp_path, str(TINY_TOKENIZER))
    assert "<|im_start|>" in (tmp_path / "chat_template.jinja").read_text()
    (tmp_path / "own").mkdir()
    for file in TINY_TOKENIZER.iterdir():
        (tmp_path / "own" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "own" / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "export").mkdir()
    write_tokenizer(tmp_path / "export", str(tmp_path / "own"))
    assert (tmp_path / "export" / "chat_template.jinja").read_text() == "{{ messages }}"


def test_the_token_with_which_the_tokenizers_own_template_ends_an_answer_ends_generation(tmp_path):
    """As Llama 3's: <|eot_id|> ends a turn, and is not eos. Here <s> stands for it."""
    own = tmp_path / "own"
    own.mkdir()
    for file in TINY_TOKENIZER.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    (own / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<s>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    (tmp_path / "export").mkdir()
    assert write_tokenizer(tmp_path / "export", str(own)) == [1, IM_END]


TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"),
    *("vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json"),
)


def test_whatever_file_a_tokenizer_has_comes_along(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for file in TINY_TOKENIZER.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    for name in TOKENIZER_FILES:
        if not (own / name).exists():
            (own / name).write_text("{}")
    (own / "notes.txt").write_text("private")
    (own / "additional_chat_templates").mkdir()
    (own / "additional_chat_templates/tool_use.jinja").write_text("{{ tools }}")
    (tmp_path / "export").mkdir()
    for _ in range(2):
        write_tokenizer(tmp_path / "export", str(own))
    found = {path.relative_to(tmp_path / "export").as_posix() for path in (tmp_path / "export").rglob("*.*")}
    assert found == {*TOKENIZER_FILES, "additional_chat_templates/tool_use.jinja"}


def test_a_model_of_the_hub_is_downloaded_as_far_as_it_is_needed(monkeypatch):
    hub = {"snapshot_download": lambda name, allow_patterns: f"/cache/{name}/{'+'.join(allow_patterns)}"}
    put_modules(monkeypatch, {"huggingface_hub": hub})
    assert local_folder("org/name", ("a", "*.py")) == Path("/cache/org/name/a+*.py")
    assert local_folder(str(TINY_TOKENIZER), ("a",)) == TINY_TOKENIZER
