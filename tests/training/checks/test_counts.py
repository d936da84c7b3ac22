"""Lengths, stages and sizes that no run can be counted from are refused by name and number."""

import math
import re
from pathlib import Path

import pytest

from nemotron.training.checks.counts import check_length, check_pack_size, check_parallel_sizes, check_stages
from nemotron.training.config import RecipeConfig, SftConfig, StageConfig
from nemotron.training.counts import count_run
from nemotron.training.objective.loss import resolve_schedule
from nemotron.training.parallelism.model_shape import shape_in
from nemotron.training.prepared_data import PreparedData

SUPER = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"


def parallel(settings, pack_size, ranks):
    return [*check_parallel_sizes(settings, shape_in(settings), pack_size, ranks)]


def config(hf_model=SUPER, batch=64, **model):
    return SftConfig(recipe=RecipeConfig(hf_model), train={"global_batch_size": batch}, model=model)


@pytest.mark.parametrize(
    ("settings", "pack_size", "ranks", "message"),
    [
        (config(context_parallel_size=4), 4100, None, "Packs of 4,100 tokens cannot be divided among 4"),
        (config(expert_model_parallel_size=8), 4096, 12, "12 ranks "),
        (config(batch=30), 4096, 4, "train.global_batch_size=30 "),
    ],
)
def test_what_cannot_be_divided_is_refused(settings, pack_size, ranks, message):
    [problem] = parallel(settings, pack_size, ranks)
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
    [problem] = parallel(config(TINY, **{"sequence_parallel": True, **settings}), 1024, None)
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_super_can_be_divided_as_often_as_it_has_mamba_groups(size):
    settings = config(tensor_model_parallel_size=size, sequence_parallel=True)
    assert parallel(settings, 4096, None) == []


def test_and_no_more_often():
    [problem] = parallel(config(tensor_model_parallel_size=16, sequence_parallel=True), 4096, None)
    assert re.search(r"\b8 .*mamba_num_groups", problem.message)


def test_ranks_that_share_the_positions_of_a_pack_need_as_many_each():
    settings = config(TINY, tensor_model_parallel_size=2, sequence_parallel=True)
    [problem] = parallel(settings, 1023, None)
    assert "1,023 tokens" in problem.message
    # Nothing is known of the pack size where the data cannot be read.
    assert parallel(settings, None, None) == []


def test_stages_may_be_uneven_where_they_are_marked():
    stages = {"pipeline_model_parallel_size": 2, "hybrid_layer_pattern": "MEM*|EME/*E/*E"}
    assert parallel(config(TINY, **stages), 1024, None) == []


def test_a_batch_of_one_pack_is_the_default():
    assert parallel(SftConfig(), None, 1) == []
    [problem] = parallel(SftConfig(), None, 2)
    assert "train.global_batch_size=1 " in problem.message


def test_each_size_that_does_not_divide_is_named():
    settings = config(TINY, expert_model_parallel_size=3, tensor_model_parallel_size=3)
    named = [problem.message.split(" ")[0] for problem in parallel(settings, 1024, 8)]
    assert named == ["model.tensor_model_parallel_size", "model.expert_model_parallel_size", "8", "8"]


def data(**recorded):
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data/splits"), {"train": 8}, **recorded)


def test_data_that_does_not_record_its_pack_size_needs_it_said():
    [problem] = check_pack_size(SftConfig(), data())
    assert "dataset.seq_length" in problem.hint
    assert [*check_pack_size(SftConfig(dataset={"seq_length": 512}), data())] == []
    assert [*check_pack_size(SftConfig(), data(pack_size=512))] == []


@pytest.mark.parametrize(("packed", "asked", "refused"), [(512, 512, 0), (512, 256, 1), (512, None, 0), (None, 512, 0)])
def test_a_pack_size_may_be_repeated_but_not_changed(packed, asked, refused):
    made = PreparedData("SFTDataArtifact-sft:v1", Path("/data"), {"train": 8}, pack_size=packed)
    settings = SftConfig(dataset={} if asked is None else {"seq_length": asked})
    assert len([*check_pack_size(settings, made)]) == refused


def test_the_sequence_length_of_the_model_is_the_pack_size():
    [problem] = check_pack_size(SftConfig(model={"seq_length": 8192}), data(pack_size=4096))
    assert "model.seq_length is 8192" in problem.message
    assert [*check_pack_size(SftConfig(model={"seq_length": 4096}), data(pack_size=4096))] == []


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "loss.stages is empty"),
        ([StageConfig("token", 3)], "loss.stages[0].start is 3"),
        ([StageConfig("token"), StageConfig("sample", 1.5)], "loss.stages[1].start is 1.5"),
        ([StageConfig("token"), StageConfig("sample", math.nan)], "loss.stages[1].start is nan"),
        ([StageConfig("token"), StageConfig("sample", math.inf)], "loss.stages[1].start is inf"),
        ([StageConfig("token"), StageConfig("sample", 10)], "loss.stages[1].start is 10"),
        ([StageConfig("token"), StageConfig("sample", -1)], "loss.stages[1].start is -1"),
        ([StageConfig("token"), StageConfig("sample", 5), StageConfig("token", 4)], "not after loss.stages[1]"),
        ([StageConfig("token"), StageConfig("sample", 0.0)], "not after loss.stages[0]"),
        ([StageConfig("token"), StageConfig("sample", 0.5), StageConfig("token", 0.3)], "not after loss.stages[1]"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages, message):
    finite = all(math.isfinite(stage.start) for stage in stages)
    [problem] = check_stages(stages, 10, resolve_schedule(stages, 10) if finite else None)
    assert message in problem.message
    assert problem.hint


@pytest.mark.parametrize("starts", [(0, math.inf), (math.nan, 0.5)])
def test_one_start_that_is_no_number_leaves_no_schedule(starts):
    stages = [StageConfig("token", starts[0]), StageConfig("sample", starts[1])]
    settings = SftConfig(train={"global_batch_size": 4, "train_iters": 10})
    settings.loss.stages = stages
    assert count_run(settings, None).schedule is None
    settings.loss.stages = [StageConfig("token"), StageConfig("sample", 0.5)]
    assert count_run(settings, None).schedule is not None


def test_each_start_outside_the_run_is_named():
    stages = [StageConfig("token"), StageConfig("sample", 1.5), StageConfig("token", 12)]
    assert [p.message.split(" ")[0] for p in check_stages(stages, 10, None)] == [
        "loss.stages[1].start",
        "loss.stages[2].start",
    ]


@pytest.mark.parametrize(
    ("scheduler", "refused"),
    [
        ({"lr_warmup_iters": 9}, False),
        ({"lr_warmup_iters": 10}, True),
        ({"lr_warmup_samples": 73}, True),
        ({"lr_warmup_iters": 10, "lr_decay_style": "linear"}, True),
        ({"lr_warmup_iters": 10, "lr_decay_style": "constant"}, False),
    ],
)
def test_a_learning_rate_that_decays_has_warmed_up_before_the_end(scheduler, refused):
    settings = SftConfig(train={"global_batch_size": 8, "train_iters": 10}, scheduler=scheduler)
    problems = [*check_length(settings, count_run(settings, None), None)]
    assert ["warms up for 10 " in problem.message for problem in problems] == [True] * refused


def test_a_run_has_one_length():
    settings = SftConfig(train={"global_batch_size": 8, "train_iters": 10, "num_epochs": 2})
    [problem] = check_length(settings, count_run(settings, None), None)
    assert "train.train_iters=10, train.num_epochs=2" in problem.message


def test_a_warm_up_is_given_once():
    settings = SftConfig(
        train={"global_batch_size": 8, "train_iters": 10},
        scheduler={"lr_warmup_iters": 5, "lr_warmup_samples": 0, "lr_warmup_fraction": 0.5},
    )
    [problem] = check_length(settings, count_run(settings, None), None)
    assert "scheduler.lr_warmup_iters=5 and scheduler.lr_warmup_fraction=0.5" in problem.message
    settings.scheduler["lr_warmup_fraction"] = None
    assert [*check_length(settings, count_run(settings, None), None)] == []


def test_a_fraction_of_a_run_of_unknown_length_is_no_warm_up_yet():
    settings = SftConfig(train={"global_batch_size": 8}, scheduler={"lr_warmup_fraction": 0.5})
    assert count_run(settings, None).warmup_iters == 0


def test_a_batch_may_be_all_the_packs_there_are_and_an_epoch_less_than_a_batch():
    packs = PreparedData("mine", Path("/data"), {"train": 8}, pack_size=512)
    for train in ({"global_batch_size": 8}, {"global_batch_size": 8, "train_samples": 8}, {"global_batch_size": 4}):
        settings = SftConfig(train={"num_epochs": 0.01, **train} if "train_samples" not in train else train)
        counts = count_run(settings, packs)
        assert [*check_length(settings, counts, packs)] == []
        assert counts.train_iters == 1


@pytest.mark.parametrize(("packs", "named"), [(1, "has only 1 training pack."), (3, "has only 3 training packs.")])
def test_a_batch_of_more_packs_than_there_are_is_refused(packs, named):
    prepared = PreparedData("mine", Path("/data"), {"train": packs}, pack_size=512)
    settings = SftConfig(train={"global_batch_size": 4, "train_iters": 1})
    [problem] = check_length(settings, count_run(settings, prepared), prepared)
    assert problem.message.endswith(named)
    assert f"train.global_batch_size={packs})" in problem.hint
