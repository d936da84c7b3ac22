"""How long a run is, counted from its config and its data."""

import math
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.config import LossConfig, PeftConfig, RecipeConfig, RunConfig, SftConfig, StageConfig
from nemotron.training.plan import make_plan
from nemotron.training.prepared_data import PreparedData


def prepared(train=100, valid=4, **metadata):
    packs = {"train": train, "valid": valid}
    return PreparedData(Path("/data/splits"), packs, {"pack_size": 4096, **metadata}, "SFTDataArtifact-sft:v1")


def config(train=None, **sections):
    recipe = RecipeConfig("someone/model", random_start=1)
    return SftConfig(recipe=recipe, train={"global_batch_size": 8, **(train or {})}, **sections)


def test_without_a_length_the_run_is_one_epoch_of_whole_batches():
    plan = make_plan(config(), prepared(train=100))
    assert plan.train_iters == 12
    assert plan.epochs == 1.0


@pytest.mark.parametrize(
    ("train", "iterations"),
    [({"train_iters": 5000}, 5000), ({"train_samples": 83}, 10), ({"num_epochs": 2}, 24), ({"num_epochs": 0.5}, 6)],
)
def test_length_in_iterations_samples_or_epochs(train, iterations):
    assert make_plan(config(train), prepared(train=100)).train_iters == iterations


def test_warm_up_in_samples_is_rounded_up_to_iterations():
    # The documented full SFT: 30,000 samples in batches of 64.
    plan = make_plan(
        config({"global_batch_size": 64, "train_iters": 1000}, scheduler={"lr_warmup_samples": 30000}),
        prepared(train=1000),
    )
    assert plan.warmup_iters == 469


def test_the_preview_names_the_switch_and_the_tokens():
    stages = LossConfig([StageConfig("token"), StageConfig("sample", 0.5)])
    rows = dict(make_plan(config({"train_iters": 24}, loss=stages), prepared()).rows())
    assert rows["loss averages over"] == "token from iteration 1, sample from iteration 13"
    assert rows["iterations"] == "24 of 8 packs (2.00 epochs)"
    assert rows["tokens"] == f"up to {24 * 8 * 4096:,}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (config({"train_iters": 10, "num_epochs": 1}), "train.train_iters=10, train.num_epochs=1"),
        (config({"train_iters": 0}), "train.train_iters is 0"),
        (config({"global_batch_size": 128}), "only 100 training packs"),
        (config({"train_samples": 3}), "less than one global batch"),
        (config({"num_epochs": -1}), "train.num_epochs is -1"),
        (config({"num_epochs": math.nan}), "train.num_epochs is nan"),
        (config({"num_epochs": math.inf}), "train.num_epochs is inf"),
        (config(dataset={"seq_length": 2048}), "was packed to 4096 tokens"),
        (config(scheduler={"lr_warmup_samples": 8, "lr_warmup_iters": 1}), "given twice"),
        (config(scheduler={"lr_warmup_samples": "30k"}), "scheduler.lr_warmup_samples is '30k'"),
        (config(model={"context_parallel_size": "two"}), "model.context_parallel_size is 'two'"),
        (config(validation={"eval_iters": "all"}), "validation.eval_iters is 'all'"),
        (config(logger={"log_interval": 0}), "logger.log_interval is 0"),
        (config(checkpoint={"save_interval": 0}), "checkpoint.save_interval is 0"),
        (config({"micro_batch_size": 2}), "train.micro_batch_size is 2, but it has to be 1"),
        (config({"rampup_batch_size": [2, 2, 8]}), "train.rampup_batch_size is [2, 2, 8], but it has to be null"),
        (config(model={"seq_length": 2048}), "model.seq_length is 2048, but it has to be 4096"),
        (config(model={"calculate_per_token_loss": False}), "model.calculate_per_token_loss is False"),
        (config(ddp={"average_in_collective": True}), "ddp.average_in_collective is True"),
        (config(dataset={"dataloader_type": "cyclic"}), "dataset.dataloader_type is 'cyclic'"),
        (config(peft=PeftConfig(target_modules=["linear_qvk"])), "'linear_qvk', which is no linear layer"),
        (config(peft=PeftConfig(scheme="dora")), "peft.scheme=dora cannot adapt 'linear_fc1'"),
        (config(peft=PeftConfig(scheme="dora", target_modules=["in_proj"])), "cannot save what it makes of Mamba"),
        (config(peft=PeftConfig(dim=0)), "peft.dim is 0"),
        (config(peft=PeftConfig(dim=-3)), "peft.dim is -3"),
        (config(peft=PeftConfig(alpha=0)), "peft.alpha is 0"),
        (config(peft=PeftConfig(dropout=2)), "peft.dropout is 2"),
        (config(peft=PeftConfig(dropout=math.nan)), "peft.dropout is nan"),
        (config(model={"mtp_num_layers": -1}), "model.mtp_num_layers is -1"),
        (config(model={"mtp_loss_scaling_factor": math.nan}), "model.mtp_loss_scaling_factor is nan"),
        (config(model={"mtp_loss_scaling_factor": -0.3}), "model.mtp_loss_scaling_factor is -0.3"),
        (config(peft=PeftConfig(), model={"moe_router_bias_update_rate": 0.1}), "moe_router_bias_update_rate is 0.1"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused_before_anything_starts(settings, message):
    with pytest.raises(UserError) as error:
        make_plan(settings, prepared(train=100))
    assert message in error.value.message
    assert error.value.hint


def test_what_is_required_may_be_said():
    settings = config({"micro_batch_size": 1}, model={"seq_length": 4096, "calculate_per_token_loss": True})
    make_plan(settings, prepared())


def test_adapters_may_be_named_by_a_pattern():
    for scheme, target in (("lora", "*.layers.0.*.linear_fc*"), ("dora", "*.shared_experts.linear_fc1")):
        make_plan(config(peft=PeftConfig(scheme=scheme, target_modules=[target])), prepared())


def test_a_misspelt_projection_has_a_suggestion():
    with pytest.raises(UserError) as error:
        make_plan(config(peft=PeftConfig(target_modules=["linear_qkw"])), prepared())
    assert error.value.hint == 'Did you mean "linear_qkv"?'


def test_what_may_not_be_meant_is_a_note():
    settings = config({"train_iters": 5}, scheduler={"lr_warmup_iters": 5})
    rows = make_plan(settings, prepared(valid=0)).rows()
    notes = [value for name, value in rows if name == "note"]
    assert notes[0].startswith("The learning rate is still warming up when the run ends: 5 iterations")
    assert notes[1] == "The valid split is empty: no validation."
    assert make_plan(config({"train_iters": 5}), prepared()).notes == []


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        ({"eval_interval": 10}, "every 10 iterations and at the end, the whole valid split"),
        ({"eval_iters": 4}, "at the end, 32 of 100 packs: the next ones each time"),
        ({"eval_iters": 0}, "none (validation.eval_iters=0)"),
    ],
)
def test_how_much_an_evaluation_reads(validation, said):
    assert dict(make_plan(config(validation=validation), prepared(valid=100)).rows())["validation"] == said


def test_the_plan_says_where_a_run_starts_or_goes_on(tmp_path):
    settings = config(run=RunConfig(output_dir=str(tmp_path)))
    assert dict(make_plan(settings, prepared()).rows())["starts from"] == "random weights, seed 1"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/latest_checkpointed_iteration.txt").write_text("20")
    assert make_plan(settings, prepared()).start.description == f"iteration 20, saved in {tmp_path}/checkpoints"
