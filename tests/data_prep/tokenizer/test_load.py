"""Tokenizers of folders and of the hub: whether it answers, what it gives, and what is said where it does not."""

import json
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron import doctor
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenizer import load
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import END_OF_TURN
from nemotron.errors import UserError


@pytest.fixture
def nothing_listens(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        for name in ("https_proxy", "HTTPS_PROXY", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield


def test_an_endpoint_that_listens_is_reachable(monkeypatch, nothing_listens):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert doctor.is_hub_reachable()


@pytest.mark.parametrize("endpoint", ["not an address", "http://127.0.0.1:no-port"])
def test_what_is_no_address_is_not(monkeypatch, nothing_listens, endpoint):
    assert not doctor.is_hub_reachable()
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert not doctor.is_hub_reachable()


def test_a_tokenizer_that_is_neither_here_nor_there_is_refused_without_trying_for_a_minute(
    monkeypatch, nothing_listens, tmp_path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as refused:
        load_tokenizer(TokenizerConfig(model="nobody/has-this"))
    assert "nobody/has-this: the hub does not answer, and the cache has no copy" in refused.value.message
    assert "tokenizer.model" in str(refused.value.hint)


@pytest.fixture
def transformers(monkeypatch):
    """A hub that answers, and transformers, which gives or raises `found`; with what it is called."""
    calls = SimpleNamespace(found=None, asked=None)

    def from_pretrained(model, **options):
        calls.asked = (model, options)
        if isinstance(calls.found, Exception):
            raise calls.found
        return calls.found

    put_modules(monkeypatch, {"transformers": {"AutoTokenizer": SimpleNamespace(from_pretrained=from_pretrained)}})
    monkeypatch.setattr(load, "is_hub_offline", lambda: False)
    monkeypatch.setattr(load, "is_hub_reachable", lambda: True)
    return calls


@pytest.mark.parametrize(
    ("template", "kept"), [("{{ x }}", "{{ x }}"), ({"default": "x"}, {"default": "x"}), (3, None)]
)
def test_a_tokenizer_of_the_hub_is_its_definition_its_special_tokens_and_its_template(transformers, template, kept):
    transformers.found = SimpleNamespace(
        backend_tokenizer=SimpleNamespace(to_str=lambda: "definition"),
        chat_template=template,
        special_tokens_map={"eos_token": "</s>", "additional_special_tokens": ["a"]},
    )
    config = TokenizerConfig(model="org/name", revision="abc", trust_remote_code=True)
    assert load._from_hub(config) == (b"definition", {"eos_token": "</s>"}, kept)
    options = {"revision": "abc", "trust_remote_code": True, "local_files_only": False}
    assert transformers.asked == ("org/name", options)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (SimpleNamespace(), "has no fast form"),
        (OSError("no such model.\nTraceback"), r"Cannot load the tokenizer org/name: no such model\. "),
        (KeyError(), r"Cannot load the tokenizer org/name: KeyError "),
    ],
)
def test_why_a_tokenizer_of_the_hub_cannot_be_used_is_said_in_a_line(transformers, found, message):
    transformers.found = found
    with pytest.raises(UserError, match=message):
        load._from_hub(TokenizerConfig(model="org/name"))


def test_without_an_answer_of_the_hub_a_copy_in_the_cache_is_enough(transformers, monkeypatch):
    monkeypatch.setattr(load, "is_hub_reachable", lambda: False)
    monkeypatch.setattr(load, "_is_cached", lambda config: True)
    transformers.found = SimpleNamespace()
    with pytest.raises(UserError):
        load._from_hub(TokenizerConfig(model="org/name"))
    assert transformers.asked[1]["local_files_only"] is True


@pytest.mark.parametrize("offline", [True, False])
def test_a_folder_and_who_is_offline_on_purpose_wait_for_no_hub(transformers, monkeypatch, tmp_path, offline):
    def ask() -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(load, "is_hub_offline", lambda: offline)
    monkeypatch.setattr(load, "is_hub_reachable", ask)
    transformers.found = SimpleNamespace()
    with pytest.raises(UserError, match="has no fast form"):
        load._from_hub(TokenizerConfig(model="org/name" if offline else str(tmp_path)))
    assert transformers.asked[1]["local_files_only"] is False


@pytest.mark.parametrize(("cached", "expected"), [("/cache/file", True), (None, False), (ValueError(), True)])
def test_a_name_that_cannot_be_is_left_to_the_library_to_explain(monkeypatch, cached, expected):
    def look(model, file, revision):
        assert (model, file, revision) == ("org/name", "tokenizer_config.json", "abc")
        if isinstance(cached, Exception):
            raise cached
        return cached

    put_modules(monkeypatch, {"huggingface_hub": {"try_to_load_from_cache": look}})
    assert load._is_cached(TokenizerConfig(model="org/name", revision="abc")) is expected


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    for folder, problem in (("/nowhere/tokenizer", "does not exist"), (str(tmp_path), r"has no tokenizer\.json")):
        with pytest.raises(UserError, match=f"folder {folder} {problem}") as error:
            load_tokenizer(TokenizerConfig(model=folder))
        assert "tokenizer.model" in (error.value.hint or "")


def test_a_tokenizer_may_bring_its_chat_template(byte_tokenizer: Path, tmp_path: Path) -> None:
    shutil.copytree(byte_tokenizer, tmp_path, dirs_exist_ok=True)
    assert load_tokenizer(TokenizerConfig(model=str(tmp_path))).chat_template is None
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert load_tokenizer(TokenizerConfig(model=str(tmp_path))).chat_template == "{{ messages }}"


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
