"""Parallel sizes that cannot divide the model, a pack, a batch or the ranks are refused by name and number."""

from pathlib import Path

import pytest

from nemotron.training.checks.parallel_sizes import check_parallel_sizes
from nemotron.training.config import RecipeConfig, SftConfig

SUPER = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"


def config(hf_model=SUPER, batch=64, **model):
    return SftConfig(recipe=RecipeConfig(hf_model), train={"global_batch_size": batch}, model=model)


@pytest.mark.parametrize(
    ("settings", "pack_size", "ranks", "message"),
    [
        (config(context_parallel_size=4), 4100, None, "Packs of 4,100 tokens cannot be divided among 4"),
        (config(expert_model_parallel_size=8), 4096, 12, "12 ranks cannot be divided by 8"),
        (config(batch=30), 4096, 4, "train.global_batch_size=30 does not divide among 4"),
    ],
)
def test_what_cannot_be_divided_is_refused(settings, pack_size, ranks, message):
    [problem] = check_parallel_sizes(settings, pack_size, ranks)
    assert message in problem.message


TINY = str(Path(__file__).parents[3] / "config/tiny_model")
EIGHT_EXPERTS = "the model's 8 experts (num_moe_experts) cannot be divided by 3"


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ({"tensor_model": 4}, "is 4, but the model's 2 Mamba groups (mamba_num_groups) cannot be", "Use 1 or 2."),
        ({"tensor_model": 3}, "is 3, but the model's 4 attention heads (num_attention_heads) cannot be", "Use 1 or 2."),
        ({"tensor_model": 4, "mamba_num_groups": 4, "num_query_groups": 3}, "3 query groups", "Use 1."),
        ({"tensor_model": 2, "sequence_parallel": False}, "model.sequence_parallel is False", "=true"),
        ({"tensor_model": 2, "context": 4}, "4 Mamba heads (mamba_num_heads) cannot be divided by 8", "Use 1 or 2."),
        ({"expert_model": 3}, EIGHT_EXPERTS, "Use 1 or 2."),
        ({"pipeline_model": 2}, "the model's 7 layers cannot be divided by 2", "Mark where a stage begins"),
        ({"pipeline_model": 2, "hybrid_layer_pattern": "M|EM*E|ME"}, "which has 3 stages, but", "_size=3"),
        ({"hybrid_layer_pattern": "MEM*|EME"}, "which has 2 stages, but", "parallel_size=2"),
    ],
)
def test_parallel_sizes_that_do_not_divide_the_model_are_refused_by_name_and_number(model, message, hint):
    kinds = ("tensor_model", "pipeline_model", "context", "expert_model")
    settings = {f"{name}_parallel_size" if name in kinds else name: value for name, value in model.items()}
    [problem] = check_parallel_sizes(config(TINY, **{"sequence_parallel": True, **settings}), 1024, None)
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_super_can_be_divided_as_often_as_it_has_mamba_groups(size):
    settings = config(tensor_model_parallel_size=size, sequence_parallel=True)
    assert [*check_parallel_sizes(settings, 4096, None)] == []


def test_and_no_more_often():
    [problem] = check_parallel_sizes(config(tensor_model_parallel_size=16, sequence_parallel=True), 4096, None)
    assert "8 Mamba groups (mamba_num_groups)" in problem.message


def test_ranks_that_share_the_positions_of_a_pack_need_as_many_each():
    settings = config(TINY, tensor_model_parallel_size=2, sequence_parallel=True)
    [problem] = check_parallel_sizes(settings, 1023, None)
    assert "1,023 tokens" in problem.message
    # Nothing is known of the pack size where the data cannot be read.
    assert [*check_parallel_sizes(settings, None, None)] == []


def test_stages_may_be_uneven_where_they_are_marked():
    stages = {"pipeline_model_parallel_size": 2, "hybrid_layer_pattern": "MEM*|EME/*E/*E"}
    assert [*check_parallel_sizes(config(TINY, **stages), 1024, None)] == []


def test_each_size_that_does_not_divide_is_named():
    settings = config(TINY, expert_model_parallel_size=3, tensor_model_parallel_size=3)
    named = [problem.message.split(" ")[0] for problem in check_parallel_sizes(settings, 1024, 8)]
    assert named == ["model.tensor_model_parallel_size", "model.expert_model_parallel_size", "8", "8"]
