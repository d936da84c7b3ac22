"""What a run starts from: a checkpoint, a Hugging Face folder, an artifact, or a seed."""

import pytest
from tests.training.checkpoints.made_up import MAIN, write_checkpoint, write_hf_folder

from nemotron.errors import UserError
from nemotron.lineage import log_artifact
from nemotron.training.checkpoints.checkpoint import read_checkpoint
from nemotron.training.checkpoints.hf_folder import is_hf_folder
from nemotron.training.checkpoints.initial_weights import StartingPoint, base_model_of, find_start
from nemotron.training.config import RecipeConfig, RunConfig, SftConfig


def config(tmp_path, model=None, hf_model="someone/model", random_start=None, **checkpoint):
    run = RunConfig(model=model, artifacts=str(tmp_path / "artifacts"))
    return SftConfig(run=run, recipe=RecipeConfig(hf_model, random_start=random_start), checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("settings", "description"),
    [
        ({}, "nothing: no model is set"),
        ({"load": "/other/checkpoints"}, "the run saved in /other/checkpoints"),
        ({"random_start": 0}, "random weights, seed 0"),
        ({"random_start": 7, "load": "/other/checkpoints"}, "random weights, seed 7"),
    ],
)
def test_without_a_checkpoint_a_run_starts_from_a_seed_or_from_another_run(tmp_path, settings, description):
    assert find_start(config(tmp_path, **settings)) == StartingPoint(None, description)


def test_a_hugging_face_folder_has_its_own_tokenizer(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    assert not is_hf_folder(folder)
    write_hf_folder(folder, MAIN)
    assert is_hf_folder(folder)
    assert find_start(config(tmp_path, pretrained_checkpoint=str(folder))) == StartingPoint(
        folder, f"{folder} (Hugging Face folder)", f"checkpoint.pretrained_checkpoint is {folder}", str(folder),
        is_hf=True, tokenizer=str(folder),
    )  # fmt: skip


def test_of_a_folder_of_megatron_checkpoints_the_newest_is_named_with_its_tokenizer(tmp_path):
    write_checkpoint(tmp_path / "saved", 20)
    newest = write_checkpoint(tmp_path / "saved", 40, {"tokenizer": {"tokenizer_model": "words"}})
    start = find_start(config(tmp_path, pretrained_checkpoint=str(tmp_path / "saved")))
    assert (start.checkpoint, start.is_hf, start.tokenizer) == (tmp_path / "saved", False, "words")
    assert start.description == f"{newest} (Megatron checkpoint)"
    assert start.megatron is not None
    assert start.megatron.folder == newest


def test_what_is_not_here_or_not_a_checkpoint_is_not_refused_yet(tmp_path):
    """It may be on the machine that trains; checks/ says what is wrong there."""
    there = find_start(config(tmp_path, pretrained_checkpoint="/elsewhere/model"))
    assert there.description == "/elsewhere/model (not on this machine)"
    (tmp_path / "empty").mkdir()
    start = find_start(config(tmp_path, pretrained_checkpoint=str(tmp_path / "empty")))
    assert start.description == str(tmp_path / "empty")
    assert str(tmp_path / "empty") in start.unreadable.message
    assert there.unreadable is None


def test_an_artifact_is_named_by_its_exact_version(tmp_path):
    newest = write_checkpoint(tmp_path / "saved", 40)
    log_artifact(name="Mine", type="model", path=tmp_path / "saved", root=tmp_path / "artifacts")
    start = find_start(config(tmp_path, model="Mine:latest"))
    assert (start.reference, start.checkpoint) == ("Mine:v1", tmp_path / "saved")
    assert start.setting == f"run.model is Mine:v1, at {tmp_path}/saved"
    assert start.description == f"Mine:v1: {newest} (Megatron checkpoint)"
    # What the config names itself goes before an artifact.
    assert find_start(config(tmp_path, model="Mine", pretrained_checkpoint="/other")).reference == "/other"


@pytest.mark.parametrize(
    ("model", "hf_model", "hint"),
    [
        ("Mine", "someone/model", "Set run.model to a model artifact."),
        ("ModelArtifact-pretrain", "someone/model", "model import someone/model;"),
        ("ModelArtifact-pretrain:v3", "/models/tiny", "model import HF_FOLDER;"),
    ],
)
def test_an_artifact_that_is_not_here_is_named_with_how_to_make_it(tmp_path, model, hf_model, hint):
    start = find_start(config(tmp_path, model, hf_model))
    assert (start.checkpoint, start.reference) == (None, None)
    assert (start.description, start.setting) == (f"{model} (not on this machine)", f"run.model is {model}")
    assert hint in start.unresolved.hint


def test_adapters_belong_to_the_model_that_they_were_trained_on(tmp_path):
    base = write_checkpoint(tmp_path / "base", 5)
    of = {"peft": {"dim": 8}, "checkpoint": {"pretrained_checkpoint": str(tmp_path / "base")}}
    adapters = read_checkpoint(write_checkpoint(tmp_path / "saved", 40, of))
    found = base_model_of(adapters)
    assert found is not None
    assert found.folder == base
    assert base_model_of(found) is None  # a whole model
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=f"iter_0000040 has adapters, .* not at {tmp_path}/base"):
        base_model_of(adapters)
    (tmp_path / "saved/iter_0000040/run_config.yaml").write_text("peft: {dim: 8}\ncheckpoint: null\ntrain: {}\n")
    with pytest.raises(UserError, match="not at None"):
        base_model_of(read_checkpoint(tmp_path / "saved/iter_0000040"))
