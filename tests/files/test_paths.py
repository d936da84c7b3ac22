import glob
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer

from nemotron.cli.app import app
from nemotron.cli.options import expand_paths
from nemotron.data_prep.config import DataPrepConfig, PrepRunConfig, TokenizerConfig
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.sources.blend import read_blend
from nemotron.errors import UserError
from nemotron.files.paths import (
    config_dir,
    ensure_text,
    expand_home,
    find_matches,
    is_path,
    keep_sockets_short,
    nearest_folder,
)
from nemotron.lineage import log_artifact
from nemotron.lineage.config_values import look_up

NOBODYS = "~no-such-user/x"


def test_a_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home("~/data") == "/home/me/data"
    assert expand_home(Path("~/data")) == Path("/home/me/data")
    for other in ("data/~", "s3://bucket//data", "./data/", "org/model"):
        assert expand_home(other) == other


def test_the_home_of_nobody_is_the_users_mistake():
    with pytest.raises(UserError) as caught:
        expand_home(NOBODYS)
    assert NOBODYS in caught.value.message


@pytest.mark.parametrize("given", [NOBODYS, [NOBODYS]])
def test_the_home_of_nobody_is_refused_on_a_command_line(given):
    with pytest.raises(UserError, match=NOBODYS):
        expand_paths(given)


def test_paths_of_a_command_line_begin_with_a_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_paths(["~/a", "b"]) == ["/home/me/a", "b"]
    assert expand_paths(Path("~/a")) == Path("/home/me/a")
    assert expand_paths(None) is None


def test_no_path_of_a_command_line_is_forgotten():
    """Every argument and option whose value may be a path replaces `~` in it."""
    forgotten = []
    for name, command in commands():
        for parameter in command.params:
            is_path = re.search(r"\b(DIR|FILE|PATH|FOLDER|RUN|CHECKPOINT|ARTIFACT)\b", parameter.metavar or "")
            if is_path and parameter.name not in EXPANDED_LATER and not expands(parameter):
                forgotten.append((name, parameter.name))
    assert forgotten == []


EXPANDED_LATER = ("config", "prep_config", "overrides")
"""By find_config, and where the config is loaded."""


def commands():
    def below(name, command):
        for each, inner in getattr(command, "commands", {}).items():
            yield from below(f"{name} {each}", inner)
        yield name, command

    return below("nemotron", typer.main.get_command(app))


def expands(parameter):
    callback = parameter.callback
    while callback is not None and callback is not expand_paths:
        callback = getattr(callback, "__wrapped__", None)
    return callback is expand_paths


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("blend_path", DataPrepConfig(blend_path=NOBODYS)),
        ("output_dir", DataPrepConfig(output_dir=NOBODYS)),
        ("chat_template", DataPrepConfig(chat_template=NOBODYS)),
        ("tokenizer.model", DataPrepConfig(tokenizer=TokenizerConfig(model=NOBODYS))),
        ("run.artifacts", DataPrepConfig(run=PrepRunConfig(artifacts=NOBODYS))),
    ],
)
def test_the_home_of_nobody_is_refused_in_a_setting_of_data_prep(key, config):
    with pytest.raises(UserError, match=f"{key}: {NOBODYS}"):
        prepare(config)


def test_the_home_of_nobody_is_refused_in_a_blend(tmp_path):
    blend = tmp_path / "blend.json"
    blend.write_text(json.dumps({"datasets": [{"path": NOBODYS}]}))
    with pytest.raises(UserError, match=NOBODYS):
        read_blend(blend)


def test_facts_of_an_artifact_below_a_home_may_stand_in_a_config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    log_artifact(name="Data", type="dataset", path=tmp_path, root=tmp_path / "artifacts")
    for reference in ("Data", "~/"):
        assert look_up({"data": reference, "artifacts": "~/artifacts"}, "data", "path") == str(tmp_path)


@pytest.mark.parametrize("pattern", ["**/x", "**/**/x", "**//**/**/x"])
def test_any_number_of_folders_twice_in_a_row_is_the_same_as_once(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    for folder in ("a/b", "c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x").touch()
    asked = []
    monkeypatch.setattr(
        "glob.glob", lambda pattern, glob=glob.glob, **how: asked.append(pattern) or glob(pattern, **how)
    )
    assert sorted(find_matches(pattern)) == ["a/b/x", "c/x"]
    assert asked == ["**/x"]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        *[(name, True) for name in ("/data", "./data", "../data", "~/data", "here")],
        *[(name, False) for name in ("org/model", "data", ".data", "a/~")],
    ],
)
def test_what_cannot_be_the_name_of_a_model_or_is_there_is_a_path(tmp_path, monkeypatch, name, there):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    assert is_path(name) is there


def test_a_name_that_is_not_utf8_is_refused_with_what_it_is():
    ensure_text("/data/é", "The file")
    with pytest.raises(UserError, match=r"The file .*UTF-8"):
        ensure_text("/data/\udcff", "The file")


def test_the_nearest_folder_of_a_path_is_itself_or_one_above(tmp_path):
    assert nearest_folder(tmp_path) == nearest_folder(tmp_path / "new/folder") == tmp_path


@pytest.mark.parametrize("wheel", [True, False])
def test_the_shipped_configs_are_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch, wheel):
    package = tmp_path / "src/nemotron"
    (package / "_config" if wheel else package).mkdir(parents=True)
    monkeypatch.setattr("nemotron.__file__", str(package / "__init__.py"))
    assert config_dir() == (package / "_config" if wheel else tmp_path / "config")


@pytest.mark.parametrize(("length", "too_long"), [(75, False), (76, True)])
def test_sockets_are_made_in_tmp_where_their_path_would_have_more_than_107_bytes(monkeypatch, length, too_long):
    """`/pymp-12345678/listener-12345678` comes to 32 bytes more."""
    used = []
    monkeypatch.setattr("tempfile.tempdir", "/" + "t" * (length - 1))
    monkeypatch.setattr("multiprocessing.util.get_temp_dir", lambda: used.append(tempfile.tempdir))
    keep_sockets_short()
    assert used == (["/tmp"] if too_long else [])
    assert tempfile.tempdir == "/" + "t" * (length - 1)


SERVE = """
import multiprocessing.forkserver
from nemotron.files.paths import keep_sockets_short
if {keep}:
    keep_sockets_short()
multiprocessing.forkserver.ensure_running()
"""


@pytest.mark.parametrize("keep", [True, False])
def test_processes_start_where_tmpdir_is_too_long_for_sockets(tmp_path, keep):
    long = tmp_path / ("t" * 120)
    long.mkdir()
    command = [sys.executable, "-c", SERVE.format(keep=keep)]
    environment = {**os.environ, "TMPDIR": str(long)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is keep, done.stderr
    assert not keep or list(long.iterdir()) == []


def test_a_path_with_a_nul_is_refused():
    with pytest.raises(UserError, match="NUL"):
        expand_home("out\0put")
