"""What the process that workers are forked from has loaded, and that loading it left no thread behind."""

import json
import multiprocessing.forkserver
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.data_prep import preload
from nemotron.data_prep.config import DataPrepConfig, TokenizerConfig
from nemotron.data_prep.engine import BYTES_FOR_A_WORKER

TINY = Path(__file__).parents[2] / "config/data_prep/tiny/tokenizer"
ASKED = """
import json, os, sys
from nemotron.data_prep.packing import shards
from nemotron.data_prep.tokenization import part
before = len(os.listdir("/proc/self/task"))
from nemotron.data_prep import preload
from nemotron.data_prep.tokenizer import encoders
print(json.dumps({
    "threads": len(os.listdir("/proc/self/task")) - before,
    "tokenizers": encoders._gigatoken.cache_info().currsize,
    "left in the environment": [name for name in os.environ if name.startswith("NEMOTRON_PRELOAD")],
}))
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environments of the processes that would be started, here the first of all."""
    environments: list[dict[str, str]] = []
    monkeypatch.setattr(preload, "_pipe", preload._Pipe())
    monkeypatch.setattr(preload, "get_ready", lambda modules, environment: environments.append(environment))
    return environments


@pytest.mark.parametrize(
    ("model", "encoder", "tokenizers"), [(str(TINY), "auto", 1), (str(TINY), "tokenizers", 0), ("no/folder", "auto", 0)]
)
def test_the_fast_encoder_is_loaded_where_it_may_be_used_and_starts_no_thread(
    model: str, encoder: str, tokenizers: int, started: list[dict[str, str]]
) -> None:
    config = DataPrepConfig(tokenizer=TokenizerConfig(model=model), encoder=encoder)  # pyright: ignore[reportArgumentType]
    preload.start_preloading(config)
    environment = {**os.environ, **started[0]}
    printed = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == {
        "threads": 0, "tokenizers": tokenizers, "left in the environment": [],
    }  # fmt: skip


def test_importing_it_elsewhere_loads_nothing() -> None:
    code = "import sys, nemotron.data_prep.preload; print('awkward' in sys.modules, 'gigatoken' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("blend", "finished", "force", "begun"),
    [
        ({"datasets": [{"path": "small.jsonl"}]}, False, False, False),
        ({"datasets": [{"path": "small.jsonl"}, {"path": "large.jsonl"}]}, False, False, True),
        ({"datasets": [{"path": "most.jsonl"}]}, False, False, False),
        ({"datasets": [{"path": "large.jsonl"}]}, True, False, False),
        ({"datasets": [{"path": "large.jsonl"}]}, True, True, True),
        ({"datasets": [{"path": "hf://someone/something"}]}, False, False, True),
        ({"datasets": [{"path": "."}]}, False, False, True),
        ({"datasets": [{"path": "small.jsonl"}, {"path": "."}]}, False, False, True),
        ([{"messages": []}], False, False, True),
        ("small.jsonl", False, False, False),
    ],
)
def test_it_begins_before_the_plan_only_where_there_may_be_work_for_several(
    blend: object, finished: bool, force: bool, begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.jsonl").write_bytes(b"{}\n")
    for name, size in (("most", BYTES_FOR_A_WORKER), ("large", BYTES_FOR_A_WORKER + 1)):
        with open(tmp_path / f"{name}.jsonl", "wb") as file:
            file.truncate(size)
    (tmp_path / "blend.json").write_text(json.dumps(blend))
    if finished:
        (tmp_path / "output").mkdir()
        (tmp_path / "output/metadata.json").touch()
    path = tmp_path / (blend if isinstance(blend, str) else "blend.json")
    config = DataPrepConfig(blend_path=str(path), output_dir=str(tmp_path / "output"), workers=2, force=force)
    started: list[DataPrepConfig] = []
    monkeypatch.setattr(preload, "start_preloading", started.append)
    preload.start_early(config)
    assert bool(started) is begun
    started.clear()
    preload.start_early(replace(config, workers=1))
    assert not started


@pytest.mark.parametrize(
    ("path", "begun"),
    [("large.jsonl", True), ("small.jsonl", False), ("missing.jsonl", False), ("blend.json", True), (".", False)],
)
def test_it_begins_before_the_config_is_read_only_where_there_is_much_data_here(
    path: str, begun: bool, tmp_path: Path, started: list[dict[str, str]]
) -> None:
    (tmp_path / "small.jsonl").write_bytes(b"{}\n")
    (tmp_path / "large.jsonl").write_bytes(bytes(BYTES_FOR_A_WORKER + 1))
    (tmp_path / "blend.json").write_text('{"datasets": [{"path": "large.jsonl"}]}')
    preload.start_importing_for(["data", str(tmp_path / path)], str(tmp_path / "output"))
    assert len(started) == begun
    (tmp_path / "output").mkdir()
    (tmp_path / "output/metadata.json").touch()  # of a finished run
    preload.start_importing_for([str(tmp_path / path)], str(tmp_path / "output"))
    assert len(started) == begun


def test_what_began_early_is_told_the_tokenizer_once(started: list[dict[str, str]]) -> None:
    preload._start_importing()
    config = DataPrepConfig(tokenizer=TokenizerConfig(model="some/folder"))
    preload.start_preloading(config)
    preload.start_preloading(config)
    assert started[0] == started[1] == started[2]
    [pipe] = started[0].values()
    assert preload._read_name(pipe) == "some/folder"
    assert preload._read_name(pipe) == ""  # where the first such process was lost


def test_what_nobody_tells_the_tokenizer_does_not_wait_for_long(
    started: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    preload._start_importing()
    [pipe] = started[0].values()
    monkeypatch.setattr(preload, "SECONDS_TO_WAIT", 0)
    assert preload._read_name(pipe) == ""
    assert preload._read_name("/proc/0/fd/0") == ""  # the process that started it is gone


@pytest.mark.parametrize(("name", "is_left"), [("pymp-abc", False), ("somebodys", True)])
def test_the_folder_of_its_socket_is_removed_where_it_was_made_for_that(tmp_path, monkeypatch, name, is_left):
    folder = tmp_path / name
    folder.mkdir()
    server = multiprocessing.forkserver._forkserver
    monkeypatch.setattr(server, "_forkserver_address", str(folder / "listener"))
    preload._remove_socket()
    preload._remove_socket()
    assert folder.is_dir() is is_left
    monkeypatch.setattr(server, "_forkserver_address", None)
    preload._remove_socket()


@pytest.mark.parametrize("tokenizer", ["", "folder"])
def test_what_is_loaded_is_shared_by_all_workers(monkeypatch, tokenizer):
    """A collector that touches it would copy it to each of them; Ctrl-C is for the first process."""
    steps = []
    note = lambda name: lambda *arguments: steps.append((name, *arguments))  # noqa: E731
    monkeypatch.setattr(preload, "signal", SimpleNamespace(signal=note("signal"), SIGINT=2, SIG_IGN="ignored"))
    monkeypatch.setattr(
        preload, "gc", SimpleNamespace(**{name: note(name) for name in ("disable", "freeze", "enable")})
    )
    template = lambda name: SimpleNamespace(compile=lambda: steps.append(("template", name)))  # noqa: E731
    monkeypatch.setattr("nemotron.data_prep.chat.template.load_template", template)
    monkeypatch.setattr("nemotron.data_prep.tokenizer.encoders.load_fast", note("encoder"))
    monkeypatch.setattr("nemotron.data_prep.tokenizer.files.read_definition", lambda path: f"of {path}")
    monkeypatch.setattr(preload, "_read_name", lambda pipe: steps.append(("asked", pipe)) or tokenizer)
    preload._load("pipe")
    asked = ("asked", "pipe")
    fast = [("encoder", "of folder")] if tokenizer else []
    assert steps == [
        ("signal", 2, "ignored"),
        ("disable",),
        ("template", "nemotron3"),
        asked,
        *fast,
        ("freeze",),
        ("enable",),
    ]
