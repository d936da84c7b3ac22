import os
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.config import ConfigError, PathSetting, load_config
from nemotron.secrets import mask_text


@dataclass
class Stage:
    average: Literal["token", "sample"] = "token"
    start: int | float = 0


@dataclass
class Schema:
    output: str = "out"
    log_dir: str = "${output}/logs"
    lr: float = 0.1
    revision: str | None = None
    stages: list[Stage] = field(default_factory=lambda: [Stage()])
    logger: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(text, *overrides):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return load_config("mine.yaml", overrides, schema=Schema)

    return load


def test_the_command_line_wins_over_the_file_and_the_file_over_the_schema(load):
    loaded = load("lr: 1e-4\noutput: here\nstages:\n  - average: sample\n    start: 0.5\n", "output=there", "lr=1e-5")
    assert loaded.config == Schema(output="there", log_dir="there/logs", lr=1e-5, stages=[Stage("sample", 0.5)])
    assert loaded.origins == {
        "output": "command line",
        "log_dir": "default",
        "lr": "command line",
        "revision": "default",
        "stages.0.average": "mine.yaml:4",
        "stages.0.start": "mine.yaml:5",
        "logger": "default",
    }
    assert (loaded.name, loaded.path.name) == ("mine", "mine.yaml")


def test_a_field_that_wants_text_gets_it_as_it_was_written(load):
    assert load("revision: 0123").config.revision == "0123"
    assert load("", "revision=1e3").config.revision == "1e3"


def test_a_typo_is_reported_before_an_interpolation_that_fails(load):
    with pytest.raises(ConfigError, match=r'mine\.yaml:2: .*"ouput"'):
        load("log_dir: ${ouput}/x\nouput: x")


def test_rows_show_every_value_with_its_origin_and_no_secret(load):
    rows = load("logger: {api_key: abc, project: p}", "lr=2").rows()
    assert ("lr", "2.0", "command line") in rows
    assert ("logger.api_key", "***", "mine.yaml:1") in rows
    assert ("revision", "null", "default") in rows


def test_the_yaml_form_loads_to_the_same_config_and_holds_no_secret(load, tmp_path):
    loaded = load("lr: 1e-5\noutput: a\\${b}\nlogger: {time: '04:00:00', n: '5', api_key: abc, none: null}")
    text = loaded.to_yaml()
    assert "abc" not in text
    again = load(text)
    assert again.config.output == "a${b}"
    assert again.tree == {**loaded.tree, "logger": {**loaded.tree["logger"], "api_key": "***"}}


@pytest.fixture(scope="module")
def defaults(tmp_path_factory):
    """The config that says nothing."""
    path = tmp_path_factory.mktemp("defaults") / "first.yaml"
    path.write_text("{}")
    return load_config(str(path), schema=Schema)


@settings(max_examples=50)
@given(
    output=st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda text: text != "???"),
    lr=st.floats(allow_nan=False),
    revision=st.none() | st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda text: text != "???"),
    start=st.integers(0, 10) | st.floats(0, 1),
)
def test_any_config_survives_being_written_down(defaults, output, lr, revision, start):
    tree = {
        **defaults.tree,
        "output": output,
        "lr": lr,
        "revision": revision,
        "stages": [{"average": "token", "start": start}],
    }
    second = defaults.path.with_name("second.yaml")
    second.write_text(replace(defaults, tree=tree).to_yaml(), encoding="utf-8")
    again = load_config(str(second), schema=Schema).config
    assert (again.output, again.lr, again.revision, again.stages) == (output, lr, revision, [Stage("token", start)])


@pytest.mark.parametrize("name", ["default", "lora", "tiny"])
def test_the_shipped_training_configs_load(name, monkeypatch):
    from nemotron.training.config import SftConfig

    monkeypatch.delenv("NEMO_RUN_DIR", raising=False)
    assert load_config(name, schema=SftConfig).config.run.output_dir.startswith("output/")


@pytest.mark.parametrize("name", ["default", "tiny"])
def test_the_shipped_data_prep_configs_load(name, monkeypatch):
    from nemotron.data_prep.config import DataPrepConfig

    monkeypatch.delenv("NEMO_RUN_DIR", raising=False)
    loaded = load_config(name, group="data_prep", schema=DataPrepConfig)
    assert loaded.config.config_name == name


def test_data_prep_writes_to_the_documented_folder_and_another_config_beside_it(tmp_path, monkeypatch):
    from nemotron.data_prep.config import DataPrepConfig

    monkeypatch.delenv("NEMO_RUN_DIR", raising=False)

    def output_dir(name, *overrides):
        return load_config(name, overrides, group="data_prep", schema=DataPrepConfig).config.output_dir

    assert output_dir("default") == "output/stage1_sft"
    assert output_dir("default", "config_name=mine") == "output/stage1_sft-mine"
    (tmp_path / "my.yaml").write_text("defaults: default\n")
    assert output_dir(str(tmp_path / "my.yaml")) == "output/stage1_sft-my"
    assert output_dir("tiny") == "output/tiny/data"
    monkeypatch.setenv("NEMO_RUN_DIR", "/runs")
    assert output_dir("default") == "/runs/stage1_sft"


def test_rows_leave_out_empty_sections(load):
    assert "logger" not in [key for key, _, _ in load("").rows()]
    assert ("logger.x", "[]", "mine.yaml:1") in load("logger: {x: []}").rows()


def test_a_secret_is_known_where_what_is_next_to_it_cannot_be_resolved(load):
    with pytest.raises(ConfigError):
        load("logger: {api_key: planted-beside, other: '${nowhere}'}")
    assert "planted-beside" not in mask_text("--key planted-beside")


def test_artifacts_stay_open_wherever_they_stand(load, tmp_path, monkeypatch):
    text = "output: ${art:data,path}\nlogger: {list: [1, '${art:data,name}'], n: {a: '${art:model,path}'}}\n"
    text += "stages: [{name: '${art:data,name}', share: '${oc.env:SHARE}'}]\n"
    monkeypatch.setenv("SHARE", "0.1")
    (tmp_path / "mine.yaml").write_text(text)
    loaded = load_config("mine.yaml", schema=OpenSchema, leave_artifacts=True)
    assert (loaded.config.output, loaded.config.logger) == (None, {"list": [1, None], "n": {"a": None}})
    assert loaded.tree["output"] == "${art:data,path}"
    assert loaded.tree["stages"] == [{"name": "${art:data,name}", "share": 0.1}]
    assert loaded.tree["logger"] == {"list": [1, "${art:data,name}"], "n": {"a": "${art:model,path}"}}
    assert loaded.convert_unexpanded() == loaded.config


@dataclass
class OpenStage:
    name: str | None = None
    share: float = 1.0


@dataclass
class OpenSchema:
    output: PathSetting | None = None
    stages: list[OpenStage] = field(default_factory=list)
    logger: dict[str, Any] = field(default_factory=dict)


def test_a_config_for_another_machine_keeps_its_home(load, tmp_path):
    (tmp_path / "mine.yaml").write_text("output: ~/x\n")
    loaded = load_config("mine.yaml", schema=OpenSchema)
    assert loaded.config.output == os.path.expanduser("~/x")
    assert loaded.convert_unexpanded().output == "~/x"


@pytest.mark.parametrize("place", ["command line", "file", "environment"])
def test_a_secret_of_a_config_is_masked_from_then_on(load, monkeypatch, place):
    monkeypatch.setattr("nemotron.secrets._remembered", set())
    secret = f"of-the-{place}-5f3a9c".replace(" ", "-")
    monkeypatch.setenv("MY_VALUE", secret)
    text = {"file": f"logger: {{api_key: {secret}}}", "environment": "logger: {api_key: '${oc.env:MY_VALUE}'}"}
    load(text.get(place, ""), *([f"logger.api_key={secret}"] if place == "command line" else []))
    assert mask_text(f"It is {secret}.") == "It is ***."
