"""The layout in the plan."""

from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.config import PeftConfig, RecipeConfig, RunConfig, SftConfig
from nemotron.training.parallelism.configured import state_bytes
from nemotron.training.parallelism.layout import explain_layout
from nemotron.training.parallelism.memory import StateBytes

SUPER = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"


def config(hf_model=SUPER, batch=64, peft=None, optimizer=None, run=None, **model):
    return SftConfig(
        recipe=RecipeConfig(hf_model), train={"global_batch_size": batch}, peft=peft, model=model,
        optimizer=optimizer or {}, run=run or RunConfig(),
    )  # fmt: skip


def test_the_documented_layout_on_the_documented_ranks():
    rows = dict(explain_layout(config(expert_model_parallel_size=8), 4096, ranks=32))
    assert rows["ranks share"] == "expert parallel 8"
    assert rows["data parallel"] == "32 of 32 ranks hold different packs, 2 per iteration each"
    assert "weights 45, gradients 90, optimizer 46" in rows["memory per rank, of 32"]


def test_without_a_profile_the_fewest_ranks_are_shown_and_what_more_of_them_change():
    rows = dict(explain_layout(config(expert_model_parallel_size=8, context_parallel_size=4), 262144))
    assert {"memory per rank, of 8", "memory per rank, of 32"} <= rows.keys()
    assert rows["tokens per rank"].startswith("65,536: of each conversation's 8 slices")
    assert "data parallel" not in rows


def test_adapters_need_neither_gradients_nor_optimizer():
    rows = dict(explain_layout(config(peft=PeftConfig()), 4096, ranks=1))
    assert "gradients 0, optimizer 0" in rows["memory per rank, of 1"]


def test_an_unknown_model_has_a_layout_but_no_estimate():
    rows = explain_layout(config("someone/else"), 4096)
    assert [name for name, _ in rows] == ["ranks share", "tokens per rank"]


@pytest.mark.parametrize(
    ("settings", "pack_size", "ranks", "message"),
    [
        (config(context_parallel_size=4), 4100, None, "Packs of 4,100 tokens cannot be divided among 4"),
        (config(expert_model_parallel_size=8), 4096, 12, "12 ranks cannot be divided by 8"),
        (config(batch=30), 4096, 4, "train.global_batch_size=30 does not divide among 4"),
    ],
)
def test_what_cannot_be_divided_is_refused(settings, pack_size, ranks, message):
    with pytest.raises(UserError, match=message):
        explain_layout(settings, pack_size, ranks)


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
    with pytest.raises(UserError) as error:
        explain_layout(config(TINY, **{"sequence_parallel": True, **settings}), 1024)
    assert message in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_super_can_be_divided_as_often_as_it_has_mamba_groups(size):
    explain_layout(config(tensor_model_parallel_size=size, sequence_parallel=True), 4096)


def test_and_no_more_often():
    with pytest.raises(UserError, match=r"8 Mamba groups .* cannot be divided by 16"):
        explain_layout(config(tensor_model_parallel_size=16, sequence_parallel=True), 4096)


def test_ranks_that_share_the_positions_of_a_pack_need_as_many_each():
    with pytest.raises(UserError, match="Packs of 1,023 tokens cannot be divided among 2 tensor-parallel ranks"):
        explain_layout(config(TINY, tensor_model_parallel_size=2, sequence_parallel=True), 1023)


def test_stages_may_be_uneven_where_they_are_marked():
    stages = {"pipeline_model_parallel_size": 2, "hybrid_layer_pattern": "MEM*|EME/*E/*E"}
    explain_layout(config(TINY, **stages), 1024)


REDUCED = {
    "use_precision_aware_optimizer": True,
    "main_params_dtype": "float16",
    "exp_avg_dtype": "bfloat16",
    "exp_avg_sq_dtype": "bfloat16",
}


def test_the_optimizers_bytes_are_those_of_its_settings():
    assert state_bytes(config()) == StateBytes(gradient=4, optimizer=12)
    assert state_bytes(config(optimizer=REDUCED)).optimizer == 6
    # Types without the optimizer that honours them change nothing.
    assert state_bytes(config(optimizer={**REDUCED, "use_precision_aware_optimizer": False})).optimizer == 12
    assert state_bytes(SftConfig(mixed_precision={"grad_reduce_in_fp32": False})).gradient == 2
    assert state_bytes(SftConfig(mixed_precision=None)) == StateBytes(number=4, gradient=4, optimizer=8)
    assert state_bytes(SftConfig(ddp={"use_distributed_optimizer": False})).divided is False


def test_more_than_a_gpu_holds_is_said_with_what_would_help():
    rows = dict(explain_layout(config(expert_model_parallel_size=8), 4096, ranks=32))
    assert "279 GB are more than the 68" in rows["does not fit"]
    assert "run.gpu_headroom_gb" in rows["does not fit"]
    assert "Most of it is activations: recompute them: model.recompute_granularity=full" in rows["does not fit"]
    larger = config(expert_model_parallel_size=8, run=RunConfig(gpu_memory_gb=292))
    assert "does not fit" not in dict(explain_layout(larger, 4096, ranks=32))


def test_adapters_are_advised_where_there_are_none():
    for peft, advised in ((None, True), (PeftConfig(), False)):
        said = dict(explain_layout(config(peft=peft, recompute_granularity="full"), 4096, ranks=8))["does not fit"]
        assert "divide the model: model.{tensor,pipeline,expert}_model_parallel_size" in said
        assert ("or train adapters: -c lora" in said) is advised
