"""Settings that a config alone shows to be wrong, refused by key and value."""

import math
from typing import Any

import pytest

from nemotron.training.checks.settings import check_adapters, check_numbers, check_settings, check_trackers
from nemotron.training.config import ConvertToHfConfig, PeftConfig, SftConfig


def numbers(key, value):
    """What is said of one setting in an otherwise right config."""
    section, name = key.split(".")
    sections: dict[str, Any] = {"train": {"global_batch_size": 4}}
    sections.setdefault(section, {})[name] = value
    return [str(problem) for problem in check_numbers(SftConfig(**sections))]


@pytest.mark.parametrize("key", ["train.global_batch_size", "train.train_iters", "logger.log_interval"])
def test_whole_numbers_from_one(key):
    assert not numbers(key, 1)
    for wrong in (0, -1, 1.0, True, "1"):
        [problem] = numbers(key, wrong)
        assert key in problem
        assert repr(wrong) in problem


def test_a_warm_up_may_be_of_nothing():
    assert not numbers("scheduler.lr_warmup_iters", 0)
    assert numbers("scheduler.lr_warmup_iters", -1)
    assert numbers("scheduler.lr_warmup_iters", False)


@pytest.mark.parametrize("wrong", [0, -0.5, math.inf, math.nan, True, "2"])
def test_epochs_are_a_positive_number(wrong):
    assert not numbers("train.num_epochs", 0.5)
    [problem] = numbers("train.num_epochs", wrong)
    assert "train.num_epochs" in problem


@pytest.mark.parametrize("wrong", [-0.1, math.inf, math.nan, True, "0.1"])
def test_the_weight_of_mtp_is_a_number_from_zero(wrong):
    for right in (0, 0.3, 2):
        assert not numbers("model.mtp_loss_scaling_factor", right)
    [problem] = numbers("model.mtp_loss_scaling_factor", wrong)
    assert "model.mtp_loss_scaling_factor" in problem


def problems(key, value):
    section, name = key.split(".")
    sections: dict[str, Any] = {section: {name: value}}
    return [str(problem) for problem in check_settings(SftConfig(**sections))]


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("train.micro_batch_size", 1, 2),
        ("model.calculate_per_token_loss", True, False),
        ("ddp.average_in_collective", False, True),
        ("dataset.dataloader_type", "batch", "single"),
        ("train.rampup_batch_size", None, [1, 1, 100]),
        ("model.overlap_moe_expert_parallel_comm", False, True),
    ],
)
def test_each_has_one_value_that_works(key, right, wrong):
    assert not problems(key, right)
    [problem] = problems(key, wrong)
    assert key in problem
    assert repr(wrong) in problem
    assert f"must be {'null' if right is None else repr(right)}, " in problem


def adapters(targets, **model):
    """What is said of adapters on these layers in a layout."""
    return [str(each) for each in check_adapters(SftConfig(peft=PeftConfig(target_modules=targets), model=model))]


def test_adapters_on_routed_experts_that_tensor_parallelism_divides_are_refused():
    """Measured: gradients off by their own size (tests/training/exactness has the layouts that are right)."""
    divided = {"tensor_model_parallel_size": 2, "expert_tensor_parallel_size": 2}
    for targets in (["linear_fc1"], ["linear_fc2"], ["*.layers.0.*.linear_fc*"], ["*"]):
        [problem] = adapters(targets, **divided)
        assert "model.expert_tensor_parallel_size is 2" in problem
        assert not adapters(targets, **divided | {"expert_tensor_parallel_size": 1})
    # Left open, experts are divided as the rest is.
    assert adapters(["linear_fc1"], tensor_model_parallel_size=2, expert_tensor_parallel_size=None)
    assert not adapters(["linear_qkv", "in_proj", "*.shared_experts.linear_fc*"], **divided)


def test_adapters_on_shared_experts_that_compute_beside_the_routed_ones_are_refused():
    [problem] = adapters(["linear_qkv"], tensor_model_parallel_size=2, expert_tensor_parallel_size=1,
                         moe_shared_expert_overlap=True)  # fmt: skip
    assert "model.moe_shared_expert_overlap" in problem
    assert not adapters(["linear_qkv"], moe_shared_expert_overlap=True)


@pytest.mark.parametrize("peft", [None, PeftConfig(scheme="dora", target_modules=["linear_qkv"])])
def test_adapters_alone_are_exported_of_lora_runs_only(peft):
    config = SftConfig(peft=peft, convert_to_hf=ConvertToHfConfig(enabled=True, adapter=True))
    [problem] = map(str, check_adapters(config))
    assert "convert_to_hf.adapter" in problem
    assert not [*check_adapters(SftConfig(peft=PeftConfig(), convert_to_hf=config.convert_to_hf))]


ON = {"mlflow_experiment": "tiny", "comet_project": "tiny"}


def tracker_problems(**logger):
    return [f"{problem.message} {problem.hint}" for problem in check_trackers(SftConfig(logger=logger))]


def test_a_tracker_that_is_on_takes_all_its_settings():
    assert not tracker_problems()
    assert not tracker_problems(**ON, mlflow_tags={"team": "chat"}, mlflow_tracking_uri="sqlite:///x", comet_tags=["a"])
    assert not tracker_problems(mlflow_log_artifacts=False, comet_workspace=None)  # as the recipe has them
    assert not tracker_problems(**ON, mlflow_run_name="x", comet_experiment_name="y", comet_workspace="z")


@pytest.mark.parametrize(
    ("key", "switch"),
    [("mlflow_run_name", "mlflow_experiment"), ("mlflow_tracking_uri", "mlflow_experiment"),
     ("comet_workspace", "comet_project"), ("comet_experiment_name", "comet_project")],
)  # fmt: skip
def test_a_setting_without_what_turns_it_on_has_no_effect(key, switch):
    [problem] = tracker_problems(**{key: "x"})
    assert f"logger.{key}" in problem
    assert f"logger.{switch}" in problem
    assert not tracker_problems(**{key: "x", switch: "y"})


def test_a_key_does_not_stand_in_a_config():
    [problem] = tracker_problems(comet_project="x", comet_api_key="secret")
    assert "COMET_API_KEY" in problem
    assert "secret" not in problem.replace("comet_api_key", "")
    assert [problem] == tracker_problems(comet_api_key="secret")  # which needs no project


@pytest.mark.parametrize("tags", [{"mlflow_tags": ["a"]}, {"mlflow_tags": {"a": 1}}, {"comet_tags": {"a": "b"}}])
def test_tags_of_the_wrong_form_are_refused(tags):
    [problem] = tracker_problems(**ON, **tags)
    assert problem.startswith(f"logger.{next(iter(tags))} is ")


@pytest.mark.parametrize("wrong", [1, -0.1, math.nan, "0.1", True])
def test_a_warm_up_is_a_fraction_of_the_run(wrong):
    assert not numbers("scheduler.lr_warmup_fraction", 0)
    assert not numbers("scheduler.lr_warmup_fraction", 0.99)
    [problem] = numbers("scheduler.lr_warmup_fraction", wrong)
    assert f"scheduler.lr_warmup_fraction is {wrong!r}" in problem


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("scheduler.lr_warmup_steps", "scheduler.lr_warmup_samples"),
        ("scheduler.lr_decay_steps", "scheduler.lr_decay_samples"),
        ("scheduler.wsd_decay_steps", "scheduler.lr_wsd_decay_samples"),
        ("scheduler.wd_incr_steps", "the length of the run"),
    ],
)
def test_what_megatron_bridge_computes_is_not_set(key, source):
    [problem] = problems(key, 7)
    assert key in problem
    assert source in problem


def test_adapters_need_a_module():
    [problem] = check_adapters(SftConfig(peft=PeftConfig(target_modules=[])))
    assert "peft.target_modules" in problem.message
    assert "linear_qkv" in str(problem.hint)


@pytest.mark.parametrize(("rate", "refused"), [(None, 0), (0, 0), (0.001, 0), (0.01, 1), (1, 1)])
def test_adapters_leave_the_biases_of_routers_alone(rate, refused):
    """The rate of full fine-tuning is a default; another one was asked for."""
    found = adapters(["linear_qkv"], moe_router_bias_update_rate=rate)
    assert [f"model.moe_router_bias_update_rate is {rate}" in each for each in found] == [True] * refused


SCHEDULE = [f"scheduler.lr_{kind}_{unit}" for kind in ("decay", "wsd_decay") for unit in ("iters", "samples")]
SIZES = [
    f"model.{size}_parallel_size"
    for size in ("tensor_model", "pipeline_model", "context", "expert_model", "expert_tensor")
]


@pytest.mark.parametrize(
    ("least", "key"),
    [
        *((1, key) for key in ("train.train_iters", "train.train_samples", "scheduler.max_steps", *SCHEDULE, *SIZES)),
        *((1, key) for key in ("validation.eval_global_batch_size", "checkpoint.save_interval", "logger.log_interval")),
        *((1, key) for key in ("dataset.seq_length", "dataset.pad_seq_to_mult")),
        *((0, key) for key in ("scheduler.lr_warmup_samples", "scheduler.lr_warmup_iters", "validation.eval_iters")),
        *((0, key) for key in ("validation.eval_interval", "model.mtp_num_layers")),
    ],
)
def test_a_number_that_is_counted_with_has_a_least_value(least, key):
    assert not numbers(key, least)
    assert not numbers(key, None)
    [problem] = numbers(key, least - 1)
    assert f"{key} is {least - 1}" in problem
