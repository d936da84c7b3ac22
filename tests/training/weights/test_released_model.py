"""A model described as the released one is: imported, exported, and stopping where its answers end.

tests/data/released_model has its fields and no other: layers as words, one shared block of multi-token prediction,
eos 2 in config.json, the end of a turn in generation_config.json alone.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nemotron.config import config_dir
from nemotron.training import cpu
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.newest import find_latest
from nemotron.training.checks.model import check_start
from nemotron.training.config import RecipeConfig, SftConfig
from nemotron.training.weights.export_hf import convert
from nemotron.training.weights.pretrained import import_model
from nemotron.training.weights.random_init import make_starting_checkpoint
from nemotron.training.weights.source import find_source

RELEASED = Path(__file__).parents[2] / "data/released_model"
TOKENIZER = config_dir() / "data_prep/tiny/tokenizer"

pytestmark = pytest.mark.megatron


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A Hugging Face folder of that shape, with random weights."""
    folder = tmp_path_factory.mktemp("released")
    with cpu.backend():
        start = make_starting_checkpoint(RELEASED, folder / "start", seed=5)
    convert(find_latest(start), folder / "hf", str(RELEASED), str(TOKENIZER))
    return folder / "hf"


def test_an_export_has_the_sources_configs_and_stops_at_the_end_of_a_turn(released):
    assert (released / "config.json").read_bytes() == (RELEASED / "config.json").read_bytes()
    assert json.loads((released / "generation_config.json").read_text())["eos_token_id"] == [2, 5]
    names = {name for name in load_file(released / "model.safetensors") if name.startswith("mtp.")}
    assert {name.split(".")[2] for name in names} == {"0", "1"}  # one block of two layers, for every depth


def test_what_is_imported_is_the_same_model_and_a_start_for_two_depths(released, tmp_path):
    imported = import_model(
        find_source(str(released)), tmp_path / "out", name="Model", artifacts=tmp_path / "artifacts"
    )
    model = find_latest(imported.checkpoint).saved["model"]
    assert model["hybrid_layer_pattern"].split("/")[0] == "MEM*EME"
    assert (model["mtp_num_layers"], model["mtp_use_repeated_layer"]) == (1, True)
    settings = SftConfig(recipe=RecipeConfig(str(released)), model={"mtp_num_layers": 2})
    settings.run.model, settings.run.artifacts = "Model", str(tmp_path / "artifacts")
    assert [*check_start(settings, find_start(settings))] == []
    convert(find_latest(imported.checkpoint), tmp_path / "again", str(released), str(TOKENIZER))
    first, again = (load_file(folder / "model.safetensors") for folder in (released, tmp_path / "again"))
    assert first.keys() == again.keys()
    # Random weights are made in float32; an import takes the type that config.json says, bfloat16.
    assert [name for name in first if not first[name].to(torch.bfloat16).equal(again[name].to(torch.bfloat16))] == []
