"""`~` in path settings: expanded in the config that runs, kept as written in what is sent elsewhere."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import yaml

from nemotron.config import ConfigError, PathKeys, PathSetting, load_config


@dataclass
class Tokenizer:
    model: PathSetting = "nvidia/model"
    revision: str | None = None


@dataclass
class Schema:
    output: PathSetting = "out"
    export: PathSetting | None = None
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    checkpoint: Annotated[dict[str, Any], PathKeys("save", "load")] = field(default_factory=dict)
    profiling: Annotated[dict[str, Any], PathKeys("trace")] | None = None


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)

    def load(text, *overrides):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return load_config("mine.yaml", overrides, schema=Schema)

    return load


def test_the_home_is_expanded_wherever_a_path_was_written(load):
    config = load("checkpoint: {save: ~/saved}\ntokenizer: {model: ~/words}", "output=~/run", "export=~/").config
    assert config.checkpoint == {"save": "/home/me/saved"}
    assert config.tokenizer.model == "/home/me/words"
    assert (config.output, config.export) == ("/home/me/run", "/home/me")


def test_nothing_but_paths_is_touched(load):
    loaded = load("tokenizer: {revision: ~1}\ncheckpoint: {load: runs/~old, comment: ~/notes}")
    assert loaded.config.tokenizer == Tokenizer("nvidia/model", revision="~1")
    assert loaded.config.checkpoint == {"load": "runs/~old", "comment": "~/notes"}
    assert loaded.config.profiling is None


def test_what_is_sent_to_another_machine_has_the_home_of_that_machine(load, tmp_path, monkeypatch):
    sent = load("output: ~/run\nprofiling: {trace: ~/trace}").tree
    assert (sent["output"], sent["profiling"]) == ("~/run", {"trace": "~/trace"})
    monkeypatch.setenv("HOME", "/home/there")
    config = load(yaml.safe_dump(sent)).config
    assert (config.output, config.profiling) == ("/home/there/run", {"trace": "/home/there/trace"})


def test_the_home_of_an_unknown_user_is_refused_by_key_and_line(load):
    with pytest.raises(ConfigError, match=r"mine.yaml:1: output: ~nobody-here/run") as error:
        load("output: ~nobody-here/run")
    assert error.value.hint
