"""Parameters and memory, against numbers that come from elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.config import load_config
from nemotron.training.config import SftConfig
from nemotron.training.parallelism import memory as memory_room
from nemotron.training.parallelism.memory import StateBytes, estimate, state_bytes
from nemotron.training.parallelism.model_shape import SUPER_120B_A12B, shape_in, shape_of
from nemotron.training.parallelism.rank_parameters import Layout, rank_parameters, stage_layers

TINY_MODEL = Path(__file__).parents[3] / "config/tiny_model"
TINY = json.loads((TINY_MODEL / "config.json").read_text())
RELEASED_MODEL = Path(__file__).parents[2] / "data/released_model"
RELEASED = json.loads((RELEASED_MODEL / "config.json").read_text())
GB = 1e9
TINY_TRAINED = 1_689_988 - 4 * 8
"""Numbers in the exported safetensors, less the corrections of 8 experts' scores in 4 MoE layers: buffers."""


def test_super_has_the_parameters_that_its_name_says():
    whole = SUPER_120B_A12B.expert_parameters + SUPER_120B_A12B.dense_parameters
    assert 123.6e9 < whole < 123.7e9  # with MTP: the name's 120.67 and 2.94 of MTP
    assert 12e9 < SUPER_120B_A12B.active_parameters < 13e9


def test_the_bytes_of_super_are_those_worked_out_by_hand_layer_by_layer():
    shape = SUPER_120B_A12B
    # in_proj 4096 x (2 x 8192 + 2 x 8 x 128 + 128), out_proj 8192 x 4096, convolution 10240 x 5, 3 x 128, norms
    assert shape.mamba_parameters() == 109_640_064
    assert shape.attention_parameters() == 4096 * (32 + 2 * 2 + 32) * 128 + 4096 == 35_655_680
    # two latent projections, the shared expert's two, the router, the norm; the file has a correction per expert too
    assert shape.moe_parameters() + 512 == 54_530_560
    assert shape.n_routed_experts * shape.expert == 512 * 2 * 1024 * 2688 == 2_818_572_288


def test_tensor_parallelism_does_not_divide_the_router_and_the_latent_projections():
    whole = 2 * 4096 * 1024 + 512 * 4096 + 4096
    assert SUPER_120B_A12B.moe_parameters(8) == whole + 2 * 4096 * 5376 // 8


def test_the_last_stage_holds_the_output_layer_the_mtp_layers_and_a_second_embedding():
    """64 ranks, PP 8 x EP 8, by hand: 5 Mamba, 1 attention and 5 MoE layers a stage."""
    layout = Layout(ranks=64, pipeline=8, expert=8)
    middle, last = (
        rank_parameters(SUPER_120B_A12B, layout, "MEMEM*EMEME", first=False, last=is_last) for is_last in (False, True)
    )
    assert middle.dense == 5 * 109_640_064 + 35_655_680 + 5 * 54_530_048
    assert middle.experts == 5 * 2_818_572_288 // 8
    embedding = 131_072 * 4096
    mtp = 2 * 4096**2 + 3 * 4096 + 35_655_680 + 54_530_048
    assert last.dense - middle.dense == 2 * embedding + 4096 + mtp
    assert last.experts - middle.experts == 2_818_572_288 // 8
    memory = estimate(SUPER_120B_A12B, layout, 4096, recompute_all=True)
    assert memory.stage == 7
    assert (memory.weights + memory.gradients + memory.optimizer) / GB == pytest.approx(53.5, abs=0.5)


def test_stages_are_those_that_the_pattern_marks_else_of_equal_length():
    shape = shape_of(TINY)
    assert stage_layers(shape, 2, "MEM*|EME/*E/*E") == ["MEM*", "EME"]
    assert stage_layers(shape, 3) == ["MEM", "*E", "ME"]
    assert stage_layers(shape, 1, "MEM*EME/*E/*E") == ["MEM*EME"]


def test_layers_may_be_words_and_one_shared_mtp_block_is_trained_to_two_depths():
    """As released configs have it: layers_block_type alone; num_nextn_predict_layers counts the blocks in the file."""
    assert "hybrid_override_pattern" not in RELEASED
    assert shape_of(RELEASED, mtp_depths=2) == shape_of(TINY)
    assert shape_of(RELEASED).mtp_depths == 1


@pytest.mark.parametrize(
    ("overrides", "depths"), [([], 2), (["model.mtp_num_layers=null"], 0), (["model.mtp_num_layers=1"], 1)]
)
def test_the_estimate_follows_the_depths_that_are_trained(overrides, depths):
    for hf_model in (RELEASED_MODEL, TINY_MODEL, "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"):
        config = load_config("default", [f"recipe.hf_model={hf_model}", *overrides], schema=SftConfig).config
        shape = shape_in(config)
        assert shape is not None
        assert shape.mtp_depths == depths


def test_the_tiny_models_count_is_that_of_its_exported_tensors():
    """config/tiny_model, exported: safetensors with 1,689,988 numbers."""
    shape = shape_of(TINY)
    assert shape.expert_parameters + shape.dense_parameters == 1_689_988


def test_full_fine_tuning_takes_eighteen_bytes_a_parameter_on_one_rank():
    shape = shape_of(TINY)
    memory = estimate(shape, Layout(ranks=1), 1024)
    assert memory.weights + memory.gradients + memory.optimizer == 18 * TINY_TRAINED


def test_reduced_precision_state_and_one_that_is_not_divided():
    halved = estimate(SUPER_120B_A12B, Layout(ranks=32, expert=8), 4096, state=StateBytes(gradient=2, optimizer=6))
    full = estimate(SUPER_120B_A12B, Layout(ranks=32, expert=8), 4096)
    assert (2 * halved.gradients, 2 * halved.optimizer) == (full.gradients, full.optimizer)
    alone = estimate(SUPER_120B_A12B, Layout(ranks=32, expert=8), 4096, state=StateBytes(divided=False))
    assert alone.optimizer == 3 * full.gradients


def test_adapters_leave_two_bytes_a_parameter():
    memory = estimate(shape_of(TINY), Layout(ranks=1), 1024, trains_adapters=True)
    assert (memory.weights, memory.gradients, memory.optimizer) == (2 * TINY_TRAINED, 0, 0)


def test_the_documented_layout_of_super_needs_what_was_worked_out_by_hand():
    """32 ranks, 8 of them sharing the experts: worked out by hand from the billions of parameters."""
    memory = estimate(SUPER_120B_A12B, Layout(ranks=32, expert=8), 4096)
    dense, experts = 8.0, 115.5 / 8
    assert memory.weights / GB == pytest.approx(2 * (dense + experts), rel=0.02)
    assert memory.gradients / GB == pytest.approx(4 * (dense + experts), rel=0.02)
    assert memory.optimizer / GB == pytest.approx(12 * (dense / 32 + experts / 4), rel=0.02)
    # 40 layers x 32 chunks x 128 heads x (64 x 128) numbers of 4 bytes
    assert memory.mamba_states == 40 * 32 * 128 * 64 * 128 * 4


@given(context=st.sampled_from([1, 2, 4, 8]), pack_size=st.sampled_from([4096, 32768, 262144]))
def test_context_parallel_ranks_share_the_tokens(context, pack_size):
    whole = estimate(SUPER_120B_A12B, Layout(ranks=8), pack_size)
    shared = estimate(SUPER_120B_A12B, Layout(ranks=8, context=context), pack_size)
    assert shared.activations * context == whole.activations
    assert shared.mamba_states * context == whole.mamba_states
    assert shared.weights == whole.weights


def test_recomputing_every_layer_keeps_little_more_than_their_inputs():
    kept = estimate(SUPER_120B_A12B, Layout(ranks=8, expert=8), 4096)
    again = estimate(SUPER_120B_A12B, Layout(ranks=8, expert=8), 4096, recompute_all=True)
    assert again.activations < kept.activations / 4
    assert again.mamba_states == kept.mamba_states / 40


def of_layers(layers):
    """The tiny model with these layers, no MTP, and a vocabulary so small that the output layer weighs nothing."""
    return replace(shape_of(TINY), layers=layers, mtp_depths=0, vocab_size=0)


TOKENS = 512
HIDDEN, MAMBA, STATES = TINY["hidden_size"], TINY["mamba_num_heads"] * TINY["mamba_head_dim"], TINY["ssm_state_size"]
B_AND_C = 2 * TINY["n_groups"] * STATES
HEADS, GROUPS, WIDTH = TINY["num_attention_heads"], TINY["num_key_value_heads"], TINY["head_dim"]
KEPT = {
    # the input and its norm; z, x, B, C and dt; the convolution's output; the scan's output and its norm
    "M": 2 * HIDDEN + (2 * MAMBA + B_AND_C + TINY["mamba_num_heads"]) + (MAMBA + B_AND_C) + 2 * MAMBA,
    # the input and its norm; queries, keys and values; attention's output and what its backward pass has besides
    "*": 2 * HIDDEN + (HEADS + 2 * GROUPS) * WIDTH + 2 * HEADS * WIDTH,
}
"""Numbers per token, by hand."""


@pytest.mark.parametrize("letter", ["M", "*"])
@pytest.mark.parametrize(("tensor", "context"), [(1, 1), (2, 1), (1, 2)])
def test_what_a_layer_keeps_for_its_backward_pass(letter, tensor, context):
    memory = estimate(of_layers(letter), Layout(2, tensor=tensor, context=context), TOKENS)
    assert memory.activations == 2 * TOKENS * KEPT[letter] // tensor // context


def test_experts_keep_their_tokens_and_with_expert_tensor_parallelism_those_of_the_others():
    shape, experts = of_layers("E"), TINY["num_experts_per_tok"]
    latent, channels = TINY["moe_latent_size"], TINY["moe_intermediate_size"]
    shared = 2 * HIDDEN + 2 * latent + 2 * TINY["moe_shared_expert_intermediate_size"] + 2 * TINY["n_routed_experts"]
    assert estimate(shape, Layout(1), TOKENS).activations == 2 * TOKENS * (shared + experts * 2 * (latent + channels))
    both = estimate(shape, Layout(2, tensor=2, expert_tensor=2), TOKENS)
    assert both.activations == 2 * TOKENS * (shared + experts * 2 * (2 * latent + channels)) // 2


def test_a_stage_keeps_a_pack_for_each_stage_from_it_to_the_last():
    """1F1B: the first of three has three packs in flight, each with two Mamba layers of 512 / 128 states."""
    memory = estimate(of_layers("MMMMMM"), Layout(3, pipeline=3), TOKENS)
    assert memory.stage == 0
    assert memory.activations == 3 * 2 * 2 * TOKENS * KEPT["M"]
    assert memory.mamba_states == 3 * 2 * 4 * 4 * MAMBA * STATES


def test_states_are_kept_of_a_chunk_that_has_only_begun():
    assert estimate(of_layers("M"), Layout(1), 129).mamba_states == 2 * 4 * MAMBA * STATES


@pytest.mark.parametrize("tensor", [1, 2])
@pytest.mark.parametrize("depths", [0, 2])
def test_the_last_stage_keeps_the_logits_of_the_model_and_of_each_mtp_depth(tensor, depths):
    """bfloat16 logits and their float32 softmax."""
    none = replace(of_layers("M"), mtp_depths=depths)
    layout = Layout(2, tensor=tensor)
    without, words = (estimate(replace(none, vocab_size=size), layout, TOKENS).activations for size in (0, 1000))
    assert words - without == (1 + depths) * (2 + 4) * TOKENS * 1000 // tensor


def test_each_mtp_depth_is_an_attention_layer_and_one_of_experts():
    apart = estimate(of_layers("M*E*E"), Layout(1), TOKENS)
    depths = estimate(replace(of_layers("M"), mtp_depths=2), Layout(1), TOKENS)
    assert depths.activations == apart.activations


@pytest.mark.parametrize("tensor", [1, 2])
def test_recomputing_keeps_the_input_of_each_layer_and_the_rest_of_the_largest(tensor):
    memory = estimate(of_layers("M**"), Layout(2, tensor=tensor), TOKENS, recompute_all=True)
    assert memory.activations == 2 * TOKENS * (3 * HIDDEN + max(KEPT.values())) // tensor
    assert memory.mamba_states == 4 * 4 * MAMBA * STATES // tensor
    assert estimate(of_layers("*"), Layout(1), TOKENS, recompute_all=True).mamba_states == 0


def test_data_and_context_parallel_ranks_share_the_optimizer_and_expert_data_parallel_ones_that_of_experts():
    layout = Layout(16, context=2, expert=8)
    held = rank_parameters(SUPER_120B_A12B, layout, SUPER_120B_A12B.layers, first=True, last=True)
    memory = estimate(SUPER_120B_A12B, layout, 4096)
    assert memory.optimizer == 12 * (held.dense // 16 + held.experts // 2)
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.mamba_states)
    assert memory.total == sum(parts)


def test_stages_that_do_not_divide_the_layers_are_longer_at_the_beginning():
    assert stage_layers(of_layers("MEM*EME"), 2) == ["MEM*", "EME"]


def test_recomputing_keeps_the_inputs_of_every_pack_in_flight():
    memory = estimate(of_layers("MMMMMM"), Layout(3, pipeline=3), TOKENS, recompute_all=True)
    assert (memory.stage, memory.activations) == (0, 2 * TOKENS * (3 * 2 * HIDDEN + KEPT["M"]))


def test_expert_tensor_parallel_ranks_share_each_expert():
    whole, half = (
        rank_parameters(of_layers("E"), Layout(2, expert_tensor=ranks), "E", first=True, last=False) for ranks in (1, 2)
    )
    assert whole.experts == 2 * half.experts == TINY["n_routed_experts"] * of_layers("E").expert


AWARE = {"use_precision_aware_optimizer": True, "main_params_dtype": "torch.float32", "exp_avg_dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("sections", "gradient", "optimizer"),
    [
        ({"mixed_precision": "bf16_mixed"}, 4, 12),
        ({"mixed_precision": {"fp8": None}}, 2, 12),  # a change of the recipe's, whose gradients have two bytes
        ({"mixed_precision": {"grad_reduce_in_fp32": True}}, 4, 12),
        ({"mixed_precision": {}, "optimizer": {**AWARE, "exp_avg_sq_dtype": "uint8"}}, 2, 4 + 2 + 1),
        ({"mixed_precision": {}, "optimizer": {"exp_avg_dtype": "uint8"}}, 2, 12),  # not without the switch
        *(
            ({"mixed_precision": {}, "optimizer": {**AWARE, "exp_avg_sq_dtype": name}}, 2, 4 + 2 + size)
            for name, size in {"float32": 4, "torch.float16": 2, "bfloat16": 2, "uint8": 1, None: 4}.items()
        ),
    ],
)
def test_the_bytes_of_a_parameter_follow_from_the_precision(sections, gradient, optimizer):
    assert state_bytes(SftConfig(**sections)) == StateBytes(gradient=gradient, optimizer=optimizer, divided=True)


def test_without_mixed_precision_the_weights_are_their_own_main_copy():
    expected = StateBytes(number=4, gradient=4, optimizer=8, divided=False)
    assert state_bytes(SftConfig(mixed_precision=None, ddp={"use_distributed_optimizer": False})) == expected


def test_the_first_stage_has_the_embedding_and_the_last_one_the_output(monkeypatch):
    ends = []
    held = memory_room.rank_parameters

    def note(shape, layout, layers, *, first, last):
        ends.append((first, last))
        return held(shape, layout, layers, first=first, last=last)

    monkeypatch.setattr(memory_room, "rank_parameters", note)
    for stages in (1, 4):
        estimate(SUPER_120B_A12B, Layout(32, pipeline=stages, expert=8), 4096)
    middle = [(False, False)] * 2
    assert ends == [(True, True), (True, False), *middle, (False, True)]


def test_uneven_stages_are_taken_from_the_marks_of_the_main_layers():
    shape = of_layers("MEM*EME")
    assert stage_layers(shape, 2, "MEM*E|ME/*E") == ["MEM*E", "ME"]
    assert stage_layers(shape, 3, "MEM*E|ME") == ["MEM", "*E", "ME"]
    assert stage_layers(shape, 1, "MEM*EME/*E") == ["MEM*EME"]
