"""Parameters and memory, against numbers that come from elsewhere."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.errors import UserError
from nemotron.training.parallelism.memory import Layout, StateBytes, estimate
from nemotron.training.parallelism.model_shape import SUPER_120B_A12B, shape_of

TINY = json.loads((Path(__file__).parents[3] / "config/tiny_model/config.json").read_text())
GB = 1e9


def test_super_has_the_parameters_that_its_name_says():
    whole = SUPER_120B_A12B.expert_parameters + SUPER_120B_A12B.dense_parameters
    assert 120e9 < whole < 124e9  # with MTP
    assert 12e9 < SUPER_120B_A12B.active_parameters < 13e9


def test_the_tiny_models_count_is_that_of_its_exported_tensors():
    """config/tiny_model, exported: safetensors with 1,689,988 numbers."""
    shape = shape_of(TINY)
    assert shape.expert_parameters + shape.dense_parameters == 1_689_988


def test_full_fine_tuning_takes_eighteen_bytes_a_parameter_on_one_rank():
    shape = shape_of(TINY)
    memory = estimate(shape, Layout(ranks=1), 1024)
    assert memory.weights + memory.gradients + memory.optimizer == 18 * 1_689_988


def test_reduced_precision_state_and_one_that_is_not_divided():
    halved = estimate(SUPER_120B_A12B, Layout(ranks=32, expert=8), 4096, state=StateBytes(gradient=2, optimizer=6))
    full = estimate(SUPER_120B_A12B, Layout(ranks=32, expert=8), 4096)
    assert (2 * halved.gradients, 2 * halved.optimizer) == (full.gradients, full.optimizer)
    alone = estimate(SUPER_120B_A12B, Layout(ranks=32, expert=8), 4096, state=StateBytes(divided=False))
    assert alone.optimizer == 3 * full.gradients


def test_adapters_leave_two_bytes_a_parameter():
    memory = estimate(shape_of(TINY), Layout(ranks=1), 1024, trains_adapters=True)
    assert (memory.weights, memory.gradients, memory.optimizer) == (2 * 1_689_988, 0, 0)


def test_the_documented_layout_of_super():
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


@pytest.mark.parametrize("sizes", [{"tensor": 3}, {"expert": 16}, {"tensor": 2, "context": 8}])
def test_ranks_that_cannot_be_divided_are_refused(sizes):
    with pytest.raises(UserError, match="8 ranks cannot be divided by"):
        Layout(ranks=8, **sizes)
