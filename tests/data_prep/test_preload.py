"""What the process that workers are forked from has loaded, and that loading it left no thread behind."""

import json
import multiprocessing.forkserver
import os
import subprocess
import sys
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
from nemotron.data_prep.tokenization import encoders
print(json.dumps({
    "threads": len(os.listdir("/proc/self/task")) - before,
    "tokenizers": encoders._gigatoken.cache_info().currsize,
    "left in the environment": [name for name in os.environ if name.startswith("NEMOTRON_PRELOAD")],
}))
"""


@pytest.mark.parametrize(
    ("model", "encoder", "tokenizers"), [(str(TINY), "auto", 1), (str(TINY), "tokenizers", 0), ("no/folder", "auto", 0)]
)
def test_the_fast_encoder_is_loaded_where_it_may_be_used_and_starts_no_thread(
    model: str, encoder: str, tokenizers: int
) -> None:
    config = DataPrepConfig(tokenizer=TokenizerConfig(model=model), encoder=encoder)  # pyright: ignore[reportArgumentType]
    environment = {**os.environ, **preload.make_environment(config)}
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
    monkeypatch.setattr("nemotron.data_prep.chat.template.load_template", note("template"))
    monkeypatch.setattr("nemotron.data_prep.tokenization.encoders.load_fast", note("encoder"))
    monkeypatch.setattr("nemotron.data_prep.tokenization.tokenizer_files.read_definition", lambda path: f"of {path}")
    preload._load(tokenizer)
    fast = [("encoder", "of folder")] if tokenizer else []
    assert steps == [("signal", 2, "ignored"), ("disable",), ("template", "nemotron3"), *fast, ("freeze",), ("enable",)]
