"""Each of Megatron's conditions on parallel sizes, with one size that meets it and one that does not."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nemotron.training.config import SftConfig
from nemotron.training.parallelism.divisibility import (
    _divide,
    fewest_ranks,
    find_faults,
    find_pack_fault,
    find_rank_faults,
    parallel_sizes,
)
from nemotron.training.parallelism.model_shape import shape_of

TINY = shape_of(json.loads((Path(__file__).parents[3] / "config/tiny_model/config.json").read_text()))
ONES = dict.fromkeys(("tensor", "pipeline", "context", "expert", "expert_tensor"), 1)
EVEN = {
    "num_attention_heads": 8,
    "num_query_groups": 8,
    "mamba_num_heads": 8,
    "mamba_num_groups": 8,
    "num_moe_experts": 8,
    "moe_ffn_hidden_size": 64,
    "moe_shared_expert_intermediate_size": 64,
    "sequence_parallel": True,
}
"""Counts that eight ranks can share."""


def faults(model=None, shape=TINY, pack_size=1024, **sizes):
    return [problem.message for problem in find_faults({**EVEN, **(model or {})}, shape, {**ONES, **sizes}, pack_size)]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        ("num_attention_heads", {"tensor": 2}),
        ("mamba_num_heads", {"tensor": 2}),
        ("mamba_num_groups", {"tensor": 2}),
        ("moe_shared_expert_intermediate_size", {"tensor": 2}),
        ("mamba_num_heads", {"context": 2}),
        ("num_moe_experts", {"expert": 2}),
        ("moe_ffn_hidden_size", {"expert_tensor": 2}),
    ],
)
def test_a_count_that_ranks_share_is_a_multiple_of_them(count, sizes):
    assert faults({count: 6}, **sizes) == []
    [message] = faults({count: 7}, **sizes)
    [(kind, size)] = sizes.items()
    key = {"tensor": "tensor_model", "expert": "expert_model"}.get(kind, kind)
    assert message.startswith(f"model.{key}_parallel_size is {size}")
    assert count in message


@pytest.mark.parametrize(("groups", "fits"), [(1, True), (2, True), (4, True), (8, True), (3, False), (6, False)])
def test_query_groups_are_a_multiple_or_a_divisor(groups, fits):
    found = faults({"num_query_groups": groups}, tensor=4)
    assert (found == []) is fits
    assert all("num_query_groups" in message for message in found)


@pytest.mark.parametrize(("groups", "fits"), [(2, True), (4, True), (8, True), (16, True), (6, False), (12, False)])
def test_mamba_groups_of_a_rank_are_a_multiple_or_a_divisor_of_context_parallel(groups, fits):
    found = faults({"mamba_num_groups": groups, "mamba_num_heads": 16}, tensor=2, context=4)
    assert (found == []) is fits
    assert all("mamba_num_groups" in message for message in found)


def test_mamba_heads_are_shared_by_tensor_times_context_ranks():
    assert faults({"mamba_num_heads": 8}, tensor=2, context=4) == []
    [message] = faults({"mamba_num_heads": 4}, tensor=2, context=4)
    assert re.search(r"mamba_num_heads.*\b8\b", message)


def test_layers_that_a_model_does_not_have_divide_nothing():
    no_mamba, no_experts = replace(TINY, layers="*E"), replace(TINY, layers="M*")
    assert faults({"mamba_num_heads": 7, "mamba_num_groups": 7}, no_mamba, tensor=2) == []
    assert faults({"num_moe_experts": 7}, no_experts, expert=2) == []
    assert faults({"sequence_parallel": False}, no_experts, tensor=2) == []


def test_what_is_null_is_unknown_and_divides_nothing():
    assert faults({"num_attention_heads": None}, tensor=2) == []


def test_the_channels_of_experts_are_not_named_next_to_tensor_parallelism_of_the_same_size():
    odd = {"num_attention_heads": 7, "moe_ffn_hidden_size": 7}
    assert len(faults(odd, tensor=2, expert_tensor=2)) == 1
    assert len(faults(odd, tensor=2, expert_tensor=4)) == 2
    [message] = faults({"moe_ffn_hidden_size": 7}, tensor=2, expert_tensor=2)
    assert "model.expert_tensor_parallel_size" in message


def test_sequence_parallel_ranks_share_the_positions_with_context_parallel_ones():
    assert faults(pack_size=1024, tensor=2, context=2) == []
    assert len(faults(pack_size=1026, tensor=2, context=2)) == 1
    assert faults(pack_size=1026, tensor=2) == []
    assert faults({"sequence_parallel": None}, pack_size=1025, tensor=2) == []


def test_layers_of_experts_need_sequence_parallelism_only_with_tensor_parallelism():
    assert faults({"sequence_parallel": False}) == []
    [message] = faults({"sequence_parallel": False}, tensor=2)
    assert "model.sequence_parallel" in message


def test_stages_are_equal_or_marked_or_uneven_at_an_end():
    six = replace(TINY, layers="MEM*ME")
    assert faults({}, six, pipeline=3) == []
    assert len(faults({}, six, pipeline=4)) == 1
    assert faults({"hybrid_layer_pattern": "ME|M|*|ME"}, six, pipeline=4) == []
    assert len(faults({"hybrid_layer_pattern": "ME|M|*ME"}, six, pipeline=4)) == 1
    for end in ("first", "last"):
        assert faults({f"num_layers_in_{end}_pipeline_stage": 1}, six, pipeline=4) == []


@pytest.mark.parametrize(("context", "pack_size", "fits"), [(1, 1023, True), (2, 1024, True), (2, 1022, False)])
def test_a_pack_is_cut_into_two_slices_for_each_context_parallel_rank(context, pack_size, fits):
    assert ([*find_pack_fault(context, pack_size)] == []) is fits


@pytest.mark.parametrize(
    ("sizes", "ranks", "batch", "named"),
    [
        ({"tensor": 2, "pipeline": 2, "context": 2}, 8, 1, []),
        ({"tensor": 2, "pipeline": 2, "context": 2}, 4, 1, ["by 8 (tensor x pipeline x context"]),
        ({"expert": 2, "expert_tensor": 2, "pipeline": 2}, 4, 1, ["by 8 (expert x expert tensor x pipeline"]),
        ({"tensor": 3, "expert": 16}, 8, 1, ["by 3 (tensor", "by 16 (expert"]),
        ({"tensor": 2}, 8, 4, []),
        ({"tensor": 2}, 8, 6, ["train.global_batch_size=6"]),
    ],
)
def test_ranks_hold_whole_replicas_and_share_the_batch(sizes, ranks, batch, named):
    found = [problem.message for problem in find_rank_faults({**ONES, **sizes}, ranks, batch)]
    assert len(found) == len(named)
    assert all(part in message for part, message in zip(named, found, strict=True))


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
    assert fewest_ranks(SftConfig(model=model)) == ranks


def test_the_experts_are_divided_as_the_other_layers_unless_the_config_says_more():
    assert parallel_sizes(SftConfig(model=sizes(tensor=4)))["expert_tensor"] == 4
    assert parallel_sizes(SftConfig(model=sizes(tensor=4, expert_tensor=1)))["expert_tensor"] == 1
    assert set(parallel_sizes(SftConfig()).values()) == {1}


def hints(problems):
    return [problem.hint for problem in problems]


def test_what_would_divide_is_said():
    assert hints(find_pack_fault(3, 1000)) == ["Choose a pack_size that is a multiple of 6."]
    assert hints(find_rank_faults({**ONES, "tensor": 2}, 8, 6)) == ["Use 8."]
    assert hints(find_rank_faults({**ONES, "tensor": 2}, 8, 5)) == ["Use 8."]
    assert hints(_divide("a.size", 6, lambda size: "no" if 4 % size else None)) == ["Use 1 or 2 or 4."]
    assert hints(_divide("a.size", 3, lambda size: "no" if size > 1 else None)) == ["Use 1."]


@pytest.mark.parametrize(("context", "ranks"), [(1, "2 tensor-parallel ranks."), (2, "2 tensor-parallel x 2 context")])
def test_who_shares_the_positions_of_a_pack_is_said(context, ranks):
    sizes_of = {**ONES, "tensor": 2, "context": context}
    [problem] = find_faults({"sequence_parallel": True}, TINY, sizes_of, 1023)
    assert f"cannot be divided among {ranks}" in problem.message
    assert problem.hint == f"Choose a pack_size that is a multiple of {2 * context}."


def test_heads_are_shared_by_tensor_times_context_only_where_both_are_more_than_one():
    [both] = faults({"mamba_num_heads": 4}, tensor=2, context=4)
    [alone] = faults({"mamba_num_heads": 6}, context=4)
    assert ("tensor x context" in both, "tensor x context" in alone) == (True, False)


def test_stages_are_marked_in_the_main_layers_alone():
    assert faults({"hybrid_layer_pattern": "MEMEM*E/*E|*E"}) == []
    assert faults({"hybrid_layer_pattern": "MEM*|EME/*E"}, pipeline=2) == []


def test_what_a_config_leaves_out_is_not_divided():
    found = parallel_sizes(SftConfig(model={"tensor_model_parallel_size": 4}))
    assert found == {"tensor": 4, "pipeline": 1, "context": 1, "expert": 1, "expert_tensor": 4}
