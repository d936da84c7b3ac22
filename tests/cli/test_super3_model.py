"""`model export` and `model import`, with the conversions replaced: they need Megatron, and have their own tests."""

import json
from pathlib import Path

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

import nemotron.training.weights.export_hf
import nemotron.training.weights.pretrained
from nemotron.cli.app import run


@pytest.fixture
def exported(monkeypatch):
    calls = []
    monkeypatch.setattr(nemotron.training.weights.export_hf, "export_hf", lambda *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def finished_run(tmp_path):
    """The folders of a run that saved iteration 40, trained with the tokenizer `words` on the model `tiny_model`."""
    folder = tmp_path / "run"
    write_checkpoint(folder / "checkpoints", 40, {"tokenizer": {"tokenizer_model": "words"}})
    (folder / "run.json").write_text(json.dumps({"hf_model": "tiny_model"}))
    return folder


@pytest.mark.parametrize("named", ["run", "run/checkpoints", "run/checkpoints/iter_0000040"])
def test_a_run_knows_its_model_its_tokenizer_and_where_to(exported, finished_run, named, capsys):
    assert run(["super3", "model", "export", named]) == 0
    [(checkpoint, target, model, tokenizer)] = exported
    assert (checkpoint.folder.absolute(), target) == (finished_run / "checkpoints/iter_0000040", finished_run / "hf")
    assert (model, tokenizer) == ("tiny_model", "words")
    assert str(target) in capsys.readouterr().out


def test_options_win_over_what_the_run_knows(exported, finished_run):
    line = ["super3", "model", "export", "run", "-o", "out", "--hf-model", "other", "--tokenizer", "others"]
    assert run(line) == 0
    [(_, target, model, tokenizer)] = exported
    assert (str(target), model, tokenizer) == ("out", "other", "others")


def test_a_checkpoint_without_a_run_has_to_be_told(exported, finished_run, capsys):
    (finished_run / "run.json").unlink()
    assert run(["super3", "model", "export", "run"]) == 1
    assert "--output DIR" in capsys.readouterr().err
    assert run(["super3", "model", "export", "run", "-o", "out"]) == 1
    assert "--hf-model ID|DIR" in capsys.readouterr().err
    assert not exported


def test_a_folder_without_checkpoint_is_named(exported, tmp_path, capsys):
    assert run(["super3", "model", "export", str(tmp_path)]) == 1
    assert f"error: {tmp_path}" in capsys.readouterr().err


@pytest.fixture
def imported(monkeypatch):
    """The conversions that were asked for."""
    calls = []

    def import_hf(folder, out, *, mtp):
        write_checkpoint(Path(out), 0)
        calls.append((str(folder), str(out), mtp))

    monkeypatch.setattr(nemotron.training.weights.pretrained, "import_hf", import_hf)
    return calls


@pytest.fixture
def hf_folder(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def test_import_records_what_it_made_and_says_how_to_fine_tune_it(imported, hf_folder, tmp_path, capsys):
    assert run(["super3", "model", "import", "hf"]) == 0
    assert imported == [(str(hf_folder), "output/models/hf", True)]
    shown = capsys.readouterr().out
    assert "ModelArtifact-pretrain:v1" in shown
    assert f"nemotron super3 sft recipe.hf_model={hf_folder}" in shown
    assert (
        run(["super3", "model", "import", "hf", "-o", "other", "--name", "Mine", "--no-mtp", "--artifacts", "a"]) == 0
    )
    words = f"run.model=Mine recipe.hf_model={hf_folder} model.mtp_num_layers=null run.artifacts=a"
    assert f"nemotron super3 sft {words}" in capsys.readouterr().out
    assert (tmp_path / "a/Mine/v1.json").is_file()


def test_import_registers_a_checkpoint_without_copying_it(imported, finished_run, capsys):
    assert run(["super3", "model", "import", "run"]) == 0
    shown = capsys.readouterr().out
    assert "Registered" in shown
    assert "recipe.hf_model" not in shown
    assert str(finished_run / "checkpoints/iter_0000040") in shown
    assert not imported


@pytest.mark.parametrize(
    ("files", "output", "message"),
    [
        (["config.json"], "new", "is not a model"),
        (["config.json", "model.safetensors"], ".", "is not empty"),
    ],
)
def test_import_refuses_what_is_no_model_and_what_it_would_overwrite(tmp_path, capsys, files, output, message):
    folder = tmp_path / "hf"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("{}")
    assert run(["super3", "model", "import", "hf", "-o", output]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "output").exists()
