"""Which folder is talked to: an export as it is, a run's own where it is of the newest checkpoint, else a new one."""

import json
import os

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.errors import UserError
from nemotron.lineage import log_artifact
from nemotron.training.generation import find_export as module
from nemotron.training.generation import memory
from nemotron.training.generation.find_export import find_export


@pytest.fixture
def exported(monkeypatch):
    """What was exported, each as (checkpoint, folder, model, tokenizer)."""
    calls = []

    def export(checkpoint, folder, model, tokenizer):
        name = checkpoint.folder.name
        calls.append((name, folder.name, model, tokenizer))
        write_export(folder, int(name.removeprefix("iter_")))
        return folder

    monkeypatch.setattr(module, "export_hf", export)
    return calls


def write_export(folder, iteration):
    folder.mkdir(exist_ok=True, parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text(f"| Iteration | {iteration} |\n")
    return folder


@pytest.fixture
def trained(tmp_path):
    """A run that saved iteration 40."""
    folder = tmp_path / "run"
    write_checkpoint(folder / "checkpoints", 40, {"tokenizer": {"tokenizer_model": "words"}})
    (folder / "run.json").write_text(json.dumps({"hf_model": "tiny_model"}))
    return folder


def find(path, tmp_path):
    return find_export(str(path), tmp_path / "artifacts")


def test_an_export_is_itself(tmp_path, exported):
    folder = write_export(tmp_path / "hf", 40)
    assert find(folder, tmp_path) == folder
    log_artifact(name="Mine", type="model", path=folder, root=tmp_path / "artifacts")
    assert find("Mine", tmp_path) == folder
    assert not exported


def test_adapters_are_an_export_too(tmp_path, exported):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    assert find(tmp_path / "adapter", tmp_path) == tmp_path / "adapter"
    assert not exported


@pytest.mark.parametrize("lost", ["README.md", "model.safetensors", "config.json"])
def test_an_export_that_is_not_whole_is_made_again(tmp_path, trained, exported, lost):
    (write_export(trained / "hf", 40) / lost).unlink()
    assert find(trained, tmp_path) == trained / "chat"
    assert len(exported) == 1


def test_one_file_of_weights_is_enough(tmp_path, trained, exported):
    (write_export(trained / "hf", 40) / "notes.txt").touch()
    assert find(trained, tmp_path) == trained / "hf"


def test_a_run_is_exported_once_for_a_checkpoint(tmp_path, trained, exported):
    said = []
    for _ in range(2):
        assert find_export(str(trained), tmp_path / "artifacts", said.append) == trained / "chat"
    assert said == [trained / "checkpoints/iter_0000040"]
    assert exported == [("iter_0000040", "chat", "tiny_model", "words")]
    write_checkpoint(trained / "checkpoints", 60, {"tokenizer": {"tokenizer_model": "words"}})
    assert find(trained, tmp_path) == trained / "chat"
    assert [call[0] for call in exported] == ["iter_0000040", "iter_0000060"]


@pytest.mark.parametrize(("iteration", "age", "is_taken"), [(40, 0, True), (20, 0, False), (40, 3600, False)])
def test_the_export_of_a_run_is_taken_if_it_is_of_this_checkpoint(
    tmp_path, trained, exported, iteration, age, is_taken
):
    card = write_export(trained / "hf", iteration) / "README.md"
    written = card.stat().st_mtime - age
    os.utime(card, (written, written))
    assert find(trained, tmp_path) == trained / ("hf" if is_taken else "chat")
    assert len(exported) == (not is_taken)


def test_a_checkpoint_with_a_file_that_is_newer_than_its_export_is_exported(tmp_path, trained, exported):
    write_export(trained / "hf", 40)
    os.utime(trained / "checkpoints/iter_0000040/run_config.yaml", (2e9, 2e9))
    assert find(trained, tmp_path) == trained / "chat"


def test_a_run_without_a_checkpoint_is_named_as_such(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="no checkpoint yet") as error:
        find(tmp_path / "run", tmp_path)
    assert "checkpoint.save_interval" in str(error.value.hint)
    (tmp_path / "run/run.json").unlink()
    with pytest.raises(UserError) as error:  # of no run, there is nothing to wait for
        find(tmp_path / "run", tmp_path)
    assert "no checkpoint yet" not in error.value.message


def test_a_model_that_does_not_fit_is_not_exported(tmp_path, trained, exported, monkeypatch):
    released = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"
    (trained / "run.json").write_text(json.dumps({"hf_model": released}))
    monkeypatch.setattr(memory, "free_memory", lambda: 64 * 2**30)
    with pytest.raises(UserError, match=r"24\d,\d{3},\d{3},\d{3} bytes"):
        find(trained, tmp_path)
    assert not exported
    monkeypatch.setattr(memory, "free_memory", lambda: 256 * 2**30)
    assert find(trained, tmp_path) == trained / "chat"


@pytest.mark.parametrize("record", [None, "{}"])
def test_a_checkpoint_of_nobody_knows_no_model(tmp_path, trained, exported, record):
    (trained / "run.json").unlink()
    if record is not None:
        (trained / "run.json").write_text(record)
    with pytest.raises(UserError) as error:
        find(trained, tmp_path)
    assert "--hf-model" in str(error.value.hint)
    assert not exported
