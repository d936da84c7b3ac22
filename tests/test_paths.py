import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nemotron.data_prep.config import DataPrepConfig, PrepRunConfig, TokenizerConfig
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.sources.blend import read_blend
from nemotron.errors import UserError
from nemotron.lineage import log_artifact, resolve
from nemotron.paths import expand_home

NOBODYS = "~no-such-user/x"


def test_a_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home("~/data") == Path("/home/me/data")
    assert expand_home("data/~") == Path("data/~")


@pytest.mark.parametrize(
    "use",
    [
        expand_home,
        read_blend,
        lambda path: resolve(path, "artifacts"),
        lambda path: resolve("Data", path),
        lambda path: log_artifact(name="Data", type="dataset", path=".", root=path),
    ],
)
def test_the_home_of_nobody_is_the_users_mistake(use):
    with pytest.raises(UserError) as caught:
        use(NOBODYS)
    assert NOBODYS in caught.value.message


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


def test_artifacts_below_a_home_are_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    log_artifact(name="Data", type="dataset", path=tmp_path, root="~/artifacts")
    assert resolve("Data", tmp_path / "artifacts") == resolve("Data", "~/artifacts")


SERVE = """
import multiprocessing.forkserver
from nemotron.paths import keep_sockets_short
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
