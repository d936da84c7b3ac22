"""Layouts that fit, for ranks and GPUs as people have them."""

import shlex
from dataclasses import astuple, replace

import pytest

from nemotron.config import load_config
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.parallelism.advise import (
    _SMALL_OPTIMIZER,
    Advice,
    _advice,
    _divisors,
    _layouts,
    _precisions,
    _rank,
    advise,
)
from nemotron.training.parallelism.cost import BETWEEN, INSIDE, Cost, crossing, iteration_cost
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


def advice(layout, cost=None, **changed):
    """Advice of a layout, with made-up seconds."""
    seconds = cost or Cost(compute=60, recompute=0, pipeline_bubble=0, tensor=5, expert=5, context=5, data=5)
    memory = estimate(SUPER_120B_A12B, Layout(64, tensor=8, expert=8), 4096)
    made = Advice(layout, memory, seconds, overrides=(), pad_to_multiple=1, crosses=(), precision=0)
    return replace(made, **changed)


def test_each_kind_of_parallelism_has_to_be_worth_it():
    none, one, two = (_rank(advice(layout), 1)[2] for layout in (Layout(8), Layout(8, tensor=2), Layout(8, 2, 2)))
    assert (one, two) == pytest.approx((1.04 * none, 1.04**2 * none))


def test_an_advice_says_what_takes_the_time():
    plain = advice(Layout(8))
    assert plain.describe() == (
        f"about {round(plain.memory.total / 10**9)} GB per rank, communication 25% of the time, "
        "only data parallelism across nodes"
    )
    seconds = Cost(compute=60, recompute=10, pipeline_bubble=10, tensor=5, expert=5, context=5, data=5)
    said = advice(Layout(8), seconds, pad_to_multiple=4, crosses=("expert", "pipeline")).describe()
    assert "communication 20% of the time, recomputation 10%, pipeline bubble 10%" in said
    assert "across nodes: expert, pipeline, data prep with pad_to_multiple=4" in said


def layouts(settings, ranks, pack_size=1024):
    """Tensor, pipeline, context, expert and expert tensor sizes of each layout that divides the tiny model."""
    shape = shape_in(settings)
    assert shape is not None
    return {astuple(layout)[1:] for layout in _layouts(settings, shape, pack_size, ranks)}


def test_every_layout_is_looked_at_that_divides_model_packs_and_batch():
    """The tiny model: 7 layers, 2 Mamba groups, 8 experts; batches of 4 packs."""
    plain = {(1, 1, 1, 1, 1), (1, 1, 1, 2, 1), (2, 1, 1, 1, 1), (2, 1, 1, 1, 2), (2, 1, 1, 2, 1)}
    divided_packs = {(1, 1, 2, 1, 1), (1, 1, 2, 2, 1)}
    assert layouts(config("tiny"), 2) == plain | divided_packs
    assert layouts(config("tiny", "run.backend=production"), 2) == plain | divided_packs
    assert layouts(config("tiny", "run.backend=torch"), 2) == plain
    assert layouts(config("tiny"), 2, pack_size=1022) == plain  # of which 4 slices are no whole numbers
    assert layouts(config("tiny"), 1, pack_size=1023) == {(1, 1, 1, 1, 1)}  # any length, where packs are not divided
    assert layouts(config("tiny"), 7) == {(1, 7, 1, 1, 1)}  # a layer each, as 7 ranks cannot share 4 packs
    assert {sizes[0] * sizes[2] for sizes in layouts(config("tiny"), 8)} == {2, 4}
    # Marks of other stages do not count, and adapters are not trained on divided experts.
    assert layouts(config("tiny", "model.hybrid_layer_pattern=MEM*|EME"), 2) == plain | divided_packs
    assert layouts(config("tiny", "peft=lora"), 2) == (plain | divided_packs) - {(2, 1, 1, 1, 2)}


def test_without_a_batch_size_a_batch_is_one_pack():
    settings = config("tiny")
    del settings.train["global_batch_size"]
    assert {sizes[0] * sizes[2] for sizes in layouts(settings, 4)} == {4}


def test_a_model_has_at_most_16_stages_and_16_tensor_parallel_ranks():
    shape = replace(SUPER_120B_A12B, layers="M" * 34, mamba_num_heads=128, n_groups=64)
    found = [*_layouts(config("default", "train.global_batch_size=34"), shape, 4352, 34)]
    assert max(layout.pipeline for layout in found) == 2
    assert _divisors(32, 16) == [1, 2, 4, 8, 16]
    assert _divisors(34, 16) == [1, 2]
    assert _divisors(12) == [1, 2, 3, 4, 6, 12]
    even = replace(shape, layers="M" * 32)
    found = [*_layouts(config("default", "train.global_batch_size=32"), even, 4096, 32)]
    assert {max(layout.pipeline for layout in found), max(layout.tensor for layout in found)} == {16}


def test_precisions_are_lowered_one_after_the_other():
    def bytes_of(settings):
        return [(order, state.gradient, state.optimizer) for order, state, _ in _precisions(settings)]

    assert bytes_of(SftConfig()) == [(0, 4, 12), (1, 4, 6), (2, 2, 6)]
    assert bytes_of(SftConfig(mixed_precision={})) == [(0, 2, 12), (1, 2, 6)]  # the recipe's gradients have two
    changed = (override.removeprefix("optimizer.").partition("=") for override in _SMALL_OPTIMIZER)
    assert bytes_of(SftConfig(optimizer={key: value for key, _, value in changed})) == [(0, 4, 6), (2, 2, 6)]
    for alone in (SftConfig(mixed_precision=None), SftConfig(peft=PeftConfig())):
        assert len(bytes_of(alone)) == 1
    *_, (_, _, changes) = _precisions(SftConfig())
    assert changes == (*_SMALL_OPTIMIZER, "mixed_precision={grad_reduce_in_fp32: false}")


def overrides(layout, recompute, **model):
    settings = SftConfig(model=model, train={"global_batch_size": 8})
    made = _advice(settings, SUPER_120B_A12B, 4096, layout, StateBytes(), recompute, 8)
    return made.overrides, made.pad_to_multiple


RECOMPUTE = ("model.recompute_granularity=full", "model.recompute_method=uniform", "model.recompute_num_layers=1")


def test_an_advice_overrides_what_is_not_so_already():
    tensor, sequence = "model.tensor_model_parallel_size=2", "model.sequence_parallel=true"
    assert overrides(Layout(8), False) == ((), 1)
    assert overrides(Layout(8, tensor=2), False) == ((tensor, sequence), 1)
    assert overrides(Layout(8, tensor=2), False, sequence_parallel=True) == ((tensor,), 1)
    assert overrides(Layout(8), False, sequence_parallel=False) == ((), 1)
    assert overrides(Layout(8, context=2), False) == (("model.context_parallel_size=2",), 4)
    assert overrides(Layout(8), True) == (RECOMPUTE, 1)
    assert overrides(Layout(8), True, recompute_granularity="full") == ((), 1)
    assert overrides(Layout(8), False, recompute_granularity="full") == (("model.recompute_granularity=null",), 1)


def test_layers_are_recomputed_only_where_nothing_else_fits():
    found = advise(config("tiny"), 1024, 4, most=50)
    assert not any("recompute" in override for each in found for override in each.overrides)
    assert len({(each.layout, each.precision) for each in found}) == len(found)


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
    shape, state = SUPER_120B_A12B, state_bytes(config())
    cost = iteration_cost(shape, Layout(32, expert=8), 4096, 64, state=state, recompute_all=False,
                          trains_adapters=False, gpus_per_node=8)  # fmt: skip
    assert cost.compute * 4e14 * 32 == pytest.approx(6 * 12.77e9 * 64 * 4096, rel=0.03)
    assert cost.recompute == cost.pipeline_bubble == cost.tensor == cost.context == 0
    assert cost.total > cost.compute


def test_of_four_stages_three_wait_for_the_first_pack_and_for_the_last():
    """The bubble is (stages - 1) / micro-batches of the rest (Narayanan et al. 2021, section 2.2)."""
    shape, state = SUPER_120B_A12B, state_bytes(config())
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


def test_the_best_comes_first():
    found = advise(config("tiny"), 1024, 4, most=50)
    assert found == sorted(found, key=lambda each: _rank(each, 1))
    assert found[:3] == advise(config("tiny"), 1024, 4, most=3)
    assert [_rank(advice(Layout(8), crosses=crosses), 1)[1] for crosses in ((), ("tensor",), ("expert",))] == [
        False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("recompute", [True, False])
def test_an_advice_has_the_memory_and_the_seconds_of_its_layout(recompute):
    settings, layout, state = SftConfig(train={"global_batch_size": 16}), Layout(8, expert=8), StateBytes()
    made = _advice(settings, SUPER_120B_A12B, 4096, layout, state, recompute, 4)
    assert made.memory == estimate(SUPER_120B_A12B, layout, 4096, state=state, recompute_all=recompute)
    assert made.cost == iteration_cost(
        SUPER_120B_A12B, layout, 4096, 16, state=state, recompute_all=recompute, trains_adapters=False, gpus_per_node=4
    )
    assert (made.precision, made.crosses) == (0, ("expert",))
