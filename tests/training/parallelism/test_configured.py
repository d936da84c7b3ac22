"""What a config says of parallel sizes, precision and the model, before Megatron reads it."""

import json
from pathlib import Path

import pytest

from nemotron.training.config import RecipeConfig, SftConfig
from nemotron.training.parallelism.configured import fewest_ranks, find_model, parallel_sizes, state_bytes
from nemotron.training.parallelism.memory import StateBytes
from nemotron.training.parallelism.model_shape import shape_of

TINY = Path(__file__).parents[3] / "config/tiny_model"


def config(model=None, hf_model="someone/model", **sections):
    return SftConfig(recipe=RecipeConfig(hf_model), model=model or {}, **sections)


def sizes(tensor=1, pipeline=1, context=1, expert=1, expert_tensor=None):
    return {
        "tensor_model_parallel_size": tensor,
        "pipeline_model_parallel_size": pipeline,
        "context_parallel_size": context,
        "expert_model_parallel_size": expert,
        "expert_tensor_parallel_size": expert_tensor,
    }


@pytest.mark.parametrize(
    ("model", "ranks"),
    [
        ({}, 1),
        (sizes(tensor=2, pipeline=2, context=2), 8),
        (sizes(tensor=2, pipeline=2, expert=8, expert_tensor=1), 16),
        (sizes(tensor=2, expert=4), 8),  # the experts are divided by tensor parallelism, too
        (sizes(tensor=2, context=3, expert=4, expert_tensor=1), 12),  # as many as both 6 and 4 divide
    ],
)
def test_the_fewest_ranks_are_whole_groups_for_the_experts_and_for_the_other_layers(model, ranks):
    assert fewest_ranks(config(model)) == ranks


def test_the_experts_are_divided_as_the_other_layers_unless_the_config_says_more():
    assert parallel_sizes(config(sizes(tensor=4)))["expert_tensor"] == 4
    assert parallel_sizes(config(sizes(tensor=4, expert_tensor=1)))["expert_tensor"] == 1
    assert set(parallel_sizes(config()).values()) == {1}


AWARE = {"use_precision_aware_optimizer": True, "main_params_dtype": "torch.float32", "exp_avg_dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("sections", "gradient", "optimizer"),
    [
        ({"mixed_precision": "bf16_mixed"}, 4, 12),
        ({"mixed_precision": {"fp8": None}}, 2, 12),  # a change of the recipe's, whose gradients have two bytes
        ({"mixed_precision": {"grad_reduce_in_fp32": True}}, 4, 12),
        ({"mixed_precision": {}, "optimizer": {**AWARE, "exp_avg_sq_dtype": "uint8"}}, 2, 4 + 2 + 1),
        ({"mixed_precision": {}, "optimizer": {"exp_avg_dtype": "uint8"}}, 2, 12),  # not without the switch
    ],
)
def test_the_bytes_of_a_parameter_follow_from_the_precision(sections, gradient, optimizer):
    assert state_bytes(config(**sections)) == StateBytes(gradient=gradient, optimizer=optimizer, divided=True)


def test_without_mixed_precision_the_weights_are_their_own_main_copy():
    expected = StateBytes(number=4, gradient=4, optimizer=8, divided=False)
    assert state_bytes(config(mixed_precision=None, ddp={"use_distributed_optimizer": False})) == expected


@pytest.mark.parametrize(("model", "depths"), [({}, 2), ({"mtp_num_layers": 1}, 1), ({"mtp_num_layers": None}, 0)])
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
