from pathlib import Path

import pytest

import nemotron
from nemotron.config import ConfigError, config_dir, config_names, find_config
from nemotron.config.files import display_path, find_parent


def test_the_shipped_configs_are_those_of_the_checkout():
    assert config_dir() == Path(__file__).parents[2] / "config"
    assert {"default", "lora", "tiny"} <= set(config_names())
    assert {"default", "tiny"} <= set(config_names("data_prep"))


def test_an_installed_wheel_has_them_inside(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "nemotron"
    (package / "_config").mkdir(parents=True)
    monkeypatch.setattr(nemotron, "__file__", str(package / "__init__.py"))
    assert config_dir() == package / "_config"


def test_a_name_is_a_shipped_config_of_the_group_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("tiny") == config_dir() / "tiny.yaml"
    assert find_config("tiny", "data_prep") == config_dir() / "data_prep" / "tiny.yaml"


def test_a_path_below_config_is_a_shipped_one_from_any_folder(tmp_path, monkeypatch):
    """As the scripts are documented: python train.py --config config/tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    assert find_config("config/tiny.yaml") == config_dir() / "tiny.yaml"
    assert find_config("config/data_prep/tiny.yaml", "data_prep") == config_dir() / "data_prep/tiny.yaml"
    (tmp_path / "config").mkdir()
    (tmp_path / "config/tiny.yaml").touch()
    assert find_config("config/tiny.yaml") == tmp_path / "config/tiny.yaml"


def test_a_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").touch()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine").touch()
    assert find_config("tiny.yaml") == tmp_path / "tiny.yaml"
    assert find_config("conf/mine") == tmp_path / "conf" / "mine"
    (tmp_path / "short.yml").touch()
    assert find_config("short.yml") == tmp_path / "short.yml"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_config("~/short.yml") == tmp_path / "short.yml"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("tinny", 'No config is called "tinny".', 'Did you mean "tiny"? Known configs: '),
        ("runs/mine.yaml", "The config file runs/mine.yaml does not exist.", "Known configs: "),
        ("tiny.yaml", "The config file tiny.yaml does not exist.", 'Did you mean "tiny"?'),
        ("./folder", "The config file ./folder is a folder, not a config file.", "Known configs: "),
    ],
)
def test_a_missing_config_is_named_with_what_there_is(tmp_path, monkeypatch, name, message, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    if name == "./folder":
        name, message = "../" + tmp_path.name + "/folder", message.replace("./", f"../{tmp_path.name}/")
    with pytest.raises(ConfigError) as caught:
        find_config(name)
    assert caught.value.message == message
    assert hint in (caught.value.hint or "")


def test_a_parent_is_looked_for_beside_the_child_then_among_the_shipped(tmp_path):
    child = tmp_path / "mine.yaml"
    assert find_parent("tiny", child, "", "mine.yaml:1") == config_dir() / "tiny.yaml"
    (tmp_path / "tiny.yaml").touch()
    assert find_parent("tiny", child, "", "mine.yaml:1") == tmp_path / "tiny.yaml"
    assert find_parent("tiny", tmp_path / "tiny.yaml", "", "tiny.yaml:1") == config_dir() / "tiny.yaml"


def test_messages_show_short_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert display_path(config_dir() / "data_prep" / "tiny.yaml") == "config/data_prep/tiny.yaml"
    assert display_path(tmp_path / "mine.yaml") == "mine.yaml"
    assert display_path(Path("/elsewhere/mine.yaml")) == "/elsewhere/mine.yaml"


@pytest.mark.parametrize("suffix", ["", ".yaml", ".yml"])
def test_a_parent_may_be_named_with_its_suffix(tmp_path, suffix):
    (tmp_path / f"base{suffix or '.yaml'}").touch()
    found = find_parent(f"base{suffix}", tmp_path / "child.yaml", "", "child.yaml:1")
    assert found == tmp_path / f"base{suffix or '.yaml'}"


def test_configs_are_listed_by_name(tmp_path):
    assert config_names() == sorted(config_names())
    for name in ("zeta", "alpha", "child"):
        (tmp_path / f"{name}.yaml").touch()
    with pytest.raises(ConfigError) as refused:
        find_parent("none", tmp_path / "child.yaml", "", "child.yaml:1")
    listed = (refused.value.hint or "").partition("Known configs: ")[2].partition(";")[0].split(", ")
    assert listed == sorted({*config_names(), "alpha", "zeta"})
