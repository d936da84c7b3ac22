"""What is known of a model before Megatron reads it."""

import json
from pathlib import Path

import pytest

from nemotron.training.config import RecipeConfig, SftConfig
from nemotron.training.parallelism.model_shape import find_model, read_model_config, shape_of

TINY = Path(__file__).parents[3] / "config/tiny_model"


def config(model=None, hf_model="someone/model", **sections):
    return SftConfig(recipe=RecipeConfig(hf_model), model=model or {}, **sections)


@pytest.mark.parametrize(
    ("model", "depths"),
    [({}, 2), ({"mtp_num_layers": 1}, 1), ({"mtp_num_layers": None}, 0), ({"mtp_num_layers": 0}, 0)],
)
@pytest.mark.parametrize("hf_model", ["nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16", "folder"])
def test_the_depth_of_multi_token_prediction_is_the_configs_else_the_models(tmp_path, hf_model, model, depths):
    if hf_model == "folder":
        described = json.loads((TINY / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**described, "num_nextn_predict_layers": 2}))
        hf_model = str(tmp_path)
    known = find_model(config(model, hf_model))
    assert known.shape is not None
    assert known.shape.mtp_depths == depths
    assert known.vocab_size is not None


def test_a_model_that_is_not_here_and_not_known_has_no_shape(tmp_path):
    assert find_model(config(hf_model="someone/model")).shape is None
    (tmp_path / "config.json").write_text('{"vocab_size": 5}')
    known = find_model(config(hf_model=str(tmp_path)))
    assert (known.shape, known.vocab_size) == (None, 5)


def test_layers_of_another_kind_are_another_architecture():
    described = json.loads((TINY / "config.json").read_text())
    pattern = shape_of(described).layers
    described.pop("layers_block_type", None)
    marked = shape_of({**described, "hybrid_override_pattern": f"{pattern[:2]}|{pattern[2:]}/*E"})
    assert marked.layers == pattern  # without the borders of stages, and without the MTP layers
    with pytest.raises(KeyError, match="X"):
        shape_of({**described, "hybrid_override_pattern": f"{pattern}X"})


def test_a_model_that_says_nothing_of_multi_token_prediction_has_none():
    described = json.loads((TINY / "config.json").read_text())
    described.pop("num_nextn_predict_layers", None)
    assert shape_of(described).mtp_depths == 0
    assert shape_of({**described, "num_nextn_predict_layers": None}).mtp_depths == 0
    assert shape_of({**described, "num_nextn_predict_layers": 1}, 2).mtp_depths == 2


def test_layers_may_be_words():
    described = json.loads((TINY / "config.json").read_text())
    described.pop("hybrid_override_pattern", None)
    words = ["mamba", "attention", "moe", "mamba"]
    assert shape_of({**described, "layers_block_type": words}).layers == "M*EM"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 100_000, "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[]", "is not a JSON object"),
    ],
)
def test_a_config_that_is_none_is_said_why(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    described, said = read_model_config(tmp_path)
    assert described is None
    assert said is not None
    assert said.startswith(f"whose config.json {why}")


def test_a_folder_without_a_config_is_not_one_that_is_elsewhere(tmp_path: Path) -> None:
    assert read_model_config(tmp_path) == (None, "which has no config.json")
    assert read_model_config(tmp_path / "elsewhere") == (None, None)
