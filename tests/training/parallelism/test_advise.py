"""Layouts that fit, for ranks and GPUs as people have them."""

import shlex

import pytest

from nemotron.config import load_config
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.advise import _rank, advise
from nemotron.training.parallelism.cost import BETWEEN, INSIDE, crossing, iteration_cost
from nemotron.training.parallelism.layout import explain_layout
from nemotron.training.parallelism.memory import StateBytes, estimate, state_bytes
from nemotron.training.parallelism.model_shape import SUPER_120B_A12B, shape_in
from nemotron.training.parallelism.rank_parameters import Layout


def config(name="default", *overrides):
    return load_config(name, list(overrides), schema=SftConfig).config


@pytest.mark.parametrize(
    ("name", "ranks", "pack_size"), [("default", 32, 4096), ("lora", 8, 4096), ("default", 128, 262144)]
)
def test_what_is_advised_fits_when_it_is_typed(name, ranks, pack_size):
    """Every line of overrides, loaded again, gives a plan without complaint: all rules of divisibility hold, too."""
    found = advise(config(name), pack_size, ranks)
    assert found
    for advice in found:
        typed = shlex.split(advice.command_line)
        rows = dict(explain_layout(config(name, *typed), pack_size, ranks))
        assert "does not fit" not in rows, typed
        assert f"about {advice.memory.total / 1e9:.0f} GB" in rows[f"memory per rank, of {ranks}"]


def test_precisions_are_left_alone_where_they_can_be():
    """123.6 billion parameters of 18 bytes are 70 GB on each of 32 ranks, 35 on each of 64."""
    on_32, on_64 = (advise(config(), 4096, ranks)[0] for ranks in (32, 64))
    assert any("exp_avg_dtype=bfloat16" in override for override in on_32.overrides)
    assert not any(override.startswith("optimizer.") for override in on_64.overrides)


def test_experts_stay_inside_a_node_where_that_fits():
    assert "expert" not in advise(config(), 4096, 32)[0].crosses
    assert crossing(Layout(32, tensor=8, expert=32), gpus_per_node=8) == ["expert"]
    assert crossing(Layout(32, tensor=8, context=2), gpus_per_node=8) == ["context"]


def test_context_parallelism_says_what_data_it_needs():
    for advice in advise(config(), 262144, 128):
        assert advice.layout.context > 1
        assert f"pad_to_multiple={2 * advice.layout.context}" in advice.describe()


def test_data_that_must_be_prepared_again_counts_against_a_layout():
    divided = advise(config(), 262144, 128)[0]
    padded = divided.pad_to_multiple
    assert _rank(divided, padded) == _rank(divided, 2 * padded) < _rank(divided, padded // 2) == _rank(divided, 1)


def test_without_transformer_engine_packs_are_not_divided():
    found = advise(config("default", "run.backend=torch"), 4096, 64, most=50)
    assert {advice.layout.context for advice in found} == {1}


def test_where_nothing_fits_the_plan_says_so():
    rows = dict(explain_layout(config("default", "run.gpu_memory_gb=24"), 4096, 8))
    assert "8 ranks" in rows["what fits"]
    assert advise(config("default", "recipe.hf_model=someone/else"), 4096, 8) == []


@pytest.mark.parametrize(("name", "ranks"), [("h100", 32), ("lora_h100", 8), ("lora_h100", 32)])
def test_the_shipped_configs_for_80_gb_fit(name, ranks):
    assert "does not fit" not in dict(explain_layout(config(name), 4096, ranks))


def test_the_layout_of_the_public_estimate_needs_as_much_memory():
    """TP 8, EP 32, recomputation and the optimizer's state in 6 bytes: 53 GB on each of 32 ranks."""
    layout = Layout(32, tensor=8, expert=32)
    memory = estimate(SUPER_120B_A12B, layout, 4096, state=StateBytes(optimizer=6), recompute_all=True)
    assert memory.total / 1e9 == pytest.approx(53, abs=4)


def test_an_iterations_operations_are_six_per_active_parameter_and_token():
    """Where attention's scores are little: 12.77 billion active parameters, 64 packs of 4,096 tokens on 32 GPUs."""
    shape, state = shape_in(config()), state_bytes(config())
    cost = iteration_cost(shape, Layout(32, expert=8), 4096, 64, state=state, recompute_all=False,
                          trains_adapters=False, gpus_per_node=8)  # fmt: skip
    assert cost.compute * 4e14 * 32 == pytest.approx(6 * 12.77e9 * 64 * 4096, rel=0.03)
    assert cost.recompute == cost.pipeline_bubble == cost.tensor == cost.context == 0
    assert cost.total > cost.compute


def test_of_four_stages_three_wait_for_the_first_pack_and_for_the_last():
    """The bubble is (stages - 1) / micro-batches of the rest (Narayanan et al. 2021, section 2.2)."""
    shape, state = shape_in(config()), state_bytes(config())
    for packs in (8, 64):
        cost = iteration_cost(shape, Layout(8, pipeline=4), 4096, packs, state=state, recompute_all=False,
                              trains_adapters=False, gpus_per_node=8)  # fmt: skip
        assert cost.pipeline_bubble / cost.compute == pytest.approx(3 / (packs / 2))


def test_what_leaves_a_node_takes_longer_than_what_stays_in_it():
    state = StateBytes()
    near, far = (
        iteration_cost(SUPER_120B_A12B, Layout(32, tensor=8, expert=8), 4096, 64, state=state, recompute_all=False,
                       trains_adapters=False, gpus_per_node=ranks)
        for ranks in (8, 4)
    )  # fmt: skip
    assert far.tensor == pytest.approx(near.tensor * INSIDE / BETWEEN)
    assert far.tensor > near.tensor
    assert far.compute == near.compute
