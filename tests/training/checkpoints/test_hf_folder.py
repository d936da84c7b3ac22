"""Hugging Face folders that lack weights, before Megatron-Bridge passes over them."""

import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from nemotron.errors import UserError
from nemotron.training.checkpoints.hf_folder import check_weights, weight_names
from nemotron.training.checkpoints.initial_weights import starting_point
from nemotron.training.config import RecipeConfig, SftConfig
from nemotron.training.weights.import_hf import all_found, import_hf

MAIN = ["backbone.layers.0.norm.weight", "backbone.layers.1.norm.weight", "lm_head.weight"]
MTP = ["mtp.layers.0.eh_proj.weight", "mtp.layers.1.norm.weight"]
CONFIG = {"hybrid_override_pattern": "ME", "num_nextn_predict_layers": 2, "mtp_hybrid_override_pattern": "*E"}


@pytest.fixture
def folder(tmp_path):
    """folder(names) is a model with tensors of these names."""

    def make(names):
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
        save_file({name: torch.zeros(2) for name in names}, tmp_path / "model.safetensors")
        return tmp_path

    return make


def sharded(folder, names, files):
    weight_map = dict.fromkeys(names, "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for file in files:
        save_file({"any": torch.zeros(1)}, folder / file)
    (folder / "config.json").write_text(json.dumps(CONFIG))


def test_names_are_read_from_the_file_and_from_an_index(folder, tmp_path):
    assert weight_names(folder(MAIN)) == set(MAIN)
    sharded(tmp_path, [*MAIN, *MTP], ["model-00001-of-00001.safetensors"])
    assert weight_names(tmp_path) == {*MAIN, *MTP}


def test_a_file_that_the_index_names_must_be_there(tmp_path):
    sharded(tmp_path, MAIN, [])
    with pytest.raises(UserError, match=r"names model-00001-of-00001\.safetensors, which is not there"):
        weight_names(tmp_path)


def test_a_whole_model_passes_and_one_without_mtp_where_it_is_not_wanted(folder):
    check_weights(folder([*MAIN, *MTP]), mtp=True, way_out="")
    check_weights(folder(MAIN), mtp=False, way_out="")


def test_missing_layers_are_named(folder):
    with pytest.raises(UserError, match=r"no weights layers\.1\.\*, though its config.json describes 2 layers"):
        check_weights(folder([*MAIN[:1], *MTP]), mtp=True, way_out="")
    with pytest.raises(UserError, match=r"no weights mtp\.layers\.1\.\*: multi-token prediction would start from"):
        check_weights(folder([*MAIN, MTP[0]]), mtp=True, way_out="")


def test_training_does_not_start_from_a_folder_without_mtp_unless_it_is_told_to(folder):
    checkpoint = {"pretrained_checkpoint": str(folder(MAIN))}
    with pytest.raises(UserError, match=r"mtp\.layers\.0\.\*, mtp\.layers\.1\.\*") as error:
        starting_point(SftConfig(recipe=RecipeConfig("m"), checkpoint=checkpoint, model={"mtp_num_layers": 2}))
    assert "model.mtp_num_layers=null" in error.value.hint
    without = SftConfig(recipe=RecipeConfig("m"), checkpoint=checkpoint, model={"mtp_num_layers": None})
    assert "(Hugging Face folder)" in starting_point(without).description


def test_import_refuses_it_too(folder, tmp_path):
    with pytest.raises(UserError, match=r"mtp\.layers\.0\.\*") as error:
        import_hf(folder(MAIN), tmp_path / "out")
    assert "--no-mtp" in error.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ("peft: {dim: 8}", "holds adapters and not a whole model"),
        ("model: {hidden_size: 8, mtp_num_layers: null}", "was saved without multi-token prediction"),
    ],
)
def test_a_checkpoint_that_is_not_the_whole_model_is_no_start(tmp_path, saved, message):
    (tmp_path / "run_config.yaml").write_text(saved)
    with pytest.raises(UserError, match=message):
        starting_point(SftConfig(checkpoint={"pretrained_checkpoint": str(tmp_path)}, model={"mtp_num_layers": 2}))


def test_a_path_that_another_machine_may_have_is_only_refused_here():
    elsewhere = SftConfig(checkpoint={"pretrained_checkpoint": "/lustre/model"})
    assert "not on this machine" in starting_point(elsewhere, here=False).description
    with pytest.raises(UserError, match="/lustre/model, which does not exist"):
        starting_point(elsewhere)


def convert(folder, *warnings):
    """What a conversion of `folder` does that warns of this."""
    with all_found(folder):
        for warning in warnings:
            logging.getLogger("megatron.bridge.models.conversion.model_bridge").warning("WARNING: %s", warning)


def test_what_a_conversion_passes_over_is_an_error(tmp_path):
    convert(tmp_path, "something else")
    warnings = ["Can't find a in hf_keys", "Can't find the following HF parameters in hf_keys: ['b', 'c']"]
    with pytest.raises(UserError, match=r"no weights a, \['b', 'c'\], which its config.json asks for"):
        convert(tmp_path, *warnings)
