"""The seconds of an iteration, worked out by hand for a model of three layers."""

from dataclasses import replace

import pytest

from nemotron.training.parallelism.cost import BETWEEN, FLOPS, INSIDE, crossing, iteration_cost
from nemotron.training.parallelism.memory import StateBytes
from nemotron.training.parallelism.model_shape import ModelShape
from nemotron.training.parallelism.rank_parameters import Layout

SMALL = ModelShape(
    layers="M*E", hidden_size=4, vocab_size=10, num_attention_heads=2, num_key_value_heads=1, head_dim=3,
    mamba_num_heads=2, mamba_head_dim=3, ssm_state_size=2, n_groups=1, conv_kernel=1,
    n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=5, moe_shared_expert_intermediate_size=6,
    moe_latent_size=2, mtp_depths=0,
)  # fmt: skip
PACK, PACKS = 64, 8
DIVIDED = Layout(8, tensor=2, context=2, expert=2)
"""Two groups of ranks hold four packs each."""


def cost(layout, gpus_per_node=8, *, shape=SMALL, recompute=False, adapters=False):
    return iteration_cost(
        shape, layout, PACK, PACKS, state=StateBytes(number=2, gradient=4), recompute_all=recompute,
        trains_adapters=adapters, gpus_per_node=gpus_per_node,
    )  # fmt: skip


def test_layers_are_computed_once_forward_and_twice_backward_and_once_more_with_recomputation():
    forward = 2 * SMALL.active_parameters * PACK + 2 * PACK**2 * (2 * 3)  # and the scores of one attention layer
    assert cost(Layout(1)).compute == pytest.approx(PACKS * 3 * forward / FLOPS)
    assert cost(Layout(1)).recompute == 0
    assert cost(DIVIDED).compute == pytest.approx(4 * 3 * forward / 4 / FLOPS)
    assert cost(DIVIDED, recompute=True).recompute == pytest.approx(4 * forward / 4 / FLOPS)
    two_depths = cost(Layout(1), shape=replace(SMALL, mtp_depths=2)).compute - cost(Layout(1)).compute
    assert two_depths == pytest.approx(PACKS * 3 * 2 * 2 * PACK**2 * (2 * 3) / FLOPS)


def test_one_rank_exchanges_nothing():
    alone = cost(Layout(1))
    assert alone.communication == 0
    assert alone.total == alone.compute


def test_tensor_parallel_ranks_gather_and_scatter_the_input_of_every_layer():
    """4 packs, forward and backward: 32 tokens of 4 numbers of 2 bytes, twice in each of 3 layers; half from others."""
    sent = 4 * 2 * (32 * 4 * 2) * 2 * 3 / 2
    assert cost(DIVIDED).tensor == pytest.approx(sent / INSIDE)
    assert cost(DIVIDED, recompute=True).tensor == pytest.approx(1.5 * sent / INSIDE)
    assert cost(replace(DIVIDED, tensor=1)).tensor == 0


def test_experts_get_their_tokens_in_the_latent_size_and_give_them_back():
    """A rank's 16 tokens go to 2 experts each, as 2 numbers of 2 bytes."""
    there_and_back = 2 * 16 * 2 * 2 * 2
    assert cost(DIVIDED).expert == pytest.approx(4 * 2 * there_and_back / 2 / INSIDE)
    gathered = replace(DIVIDED, expert_tensor=2)  # both ranks of an expert get the tokens of both
    assert cost(gathered).expert == pytest.approx(4 * 2 * (there_and_back / 2 + 2 * there_and_back / 2) / INSIDE)


def test_context_parallel_ranks_exchange_heads_in_mamba_layers_and_keys_and_values_in_attention():
    heads = 2 * (32 / 2) * (18 + 6)  # the outputs of the projection, and the inputs of the one back
    keys = 2 * (64 / 2) * 2 * 3
    assert cost(DIVIDED).context == pytest.approx(4 * 2 * (heads + keys) / 2 / INSIDE)
    more = replace(SMALL, num_key_value_heads=2)
    heads_of_more = 2 * (32 / 2) * (more.in_proj_width + more.mamba_width)
    assert cost(DIVIDED, shape=more).context == pytest.approx(4 * 2 * (heads_of_more + 2 * keys) / 2 / INSIDE)


def test_data_parallel_ranks_reduce_gradients_and_gather_weights():
    """6 bytes a parameter: of what the ranks that hold the same share."""
    dense, experts = SMALL.dense_parameters, SMALL.expert_parameters
    assert cost(DIVIDED).data == pytest.approx(6 * (dense / 2 + experts / 2) / INSIDE)
    assert cost(Layout(2, expert=2)).data == pytest.approx(6 * dense / INSIDE)  # each expert is on one rank
    assert cost(Layout(4, pipeline=2, expert_tensor=2)).data == pytest.approx(6 * dense / 2 / INSIDE)
    assert cost(Layout(2, context=2, expert=2)).data == pytest.approx(6 * dense / INSIDE)
    assert cost(Layout(2, tensor=2, expert_tensor=2)).data == 0
    assert cost(DIVIDED, gpus_per_node=4).data == pytest.approx(6 * (dense / 2 + experts / 2) / BETWEEN)
    assert cost(DIVIDED, adapters=True).data == 0


def test_the_bubble_is_of_what_is_computed_again_too():
    """Two stages of one GPU each: one waits for the first of 8 packs, and the other for the last."""
    staged = cost(Layout(2, pipeline=2), recompute=True)
    assert staged.pipeline_bubble == pytest.approx((staged.compute + staged.recompute) / 8)
    parts = (staged.compute, staged.recompute, staged.pipeline_bubble, staged.communication)
    assert staged.total == pytest.approx(sum(parts))


def test_all_that_ranks_exchange_is_communication():
    divided = cost(DIVIDED)
    assert divided.communication == divided.tensor + divided.expert + divided.context + divided.data
    assert divided.total == pytest.approx(divided.compute + divided.communication)


@pytest.mark.parametrize(
    ("layout", "kinds"),
    [
        (Layout(16, tensor=8, context=1, expert=8), []),  # exactly a node
        (Layout(16, tensor=16), ["tensor"]),
        (Layout(16, tensor=4, context=4), ["context"]),
        (Layout(16, tensor=4, context=2), []),
        (Layout(16, expert=8, expert_tensor=2), ["expert"]),
        (Layout(16, expert=16), ["expert"]),
        (Layout(16, tensor=16, expert_tensor=16), ["tensor"]),  # whose experts are on one rank each
        (Layout(16, tensor=2, pipeline=2), ["pipeline"]),
        (Layout(8, tensor=2, pipeline=2), []),
    ],
)
def test_groups_that_are_larger_than_a_node_cross_its_border(layout, kinds):
    assert crossing(layout, gpus_per_node=8) == kinds


def test_what_crosses_the_border_of_a_node_is_slower():
    near, far = cost(DIVIDED, gpus_per_node=8), cost(DIVIDED, gpus_per_node=2)
    assert crossing(DIVIDED, 2) == ["context"]
    assert far.context == pytest.approx(near.context * INSIDE / BETWEEN)
    assert (far.tensor, far.expert) == (near.tensor, near.expert)


def test_each_stage_exchanges_for_its_own_layers_alone():
    """With as many packs each."""
    whole, half = cost(Layout(4, tensor=2, context=2)), cost(Layout(8, tensor=2, context=2, pipeline=2))
    assert (half.tensor, half.context) == pytest.approx((whole.tensor / 2, whole.context / 2))
