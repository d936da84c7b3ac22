"""How long a run is, counted from its config and its data."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.config import LossConfig, PeftConfig, RecipeConfig, RunConfig, SftConfig, StageConfig
from nemotron.training.counts import count_run
from nemotron.training.parallelism.flops import flops_per_token
from nemotron.training.parallelism.model_shape import KNOWN_SHAPES
from nemotron.training.plan import Plan, make_plan
from nemotron.training.prepared_data import DataTokenizer, PreparedData


def prepared(train=100, valid=4):
    packs = {"train": train, "valid": valid}
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data/splits"), packs, pack_size=4096)


def config(train=None, **sections):
    recipe = RecipeConfig("someone/model", random_start=1)
    return SftConfig(recipe=recipe, train={"global_batch_size": 8, **(train or {})}, **sections)


def planned(config, data, run=None) -> Plan:
    return make_plan(config, count_run(config, data), data, find_start(config), run)


def test_without_a_length_the_run_is_one_epoch_of_whole_batches():
    plan = planned(config(), prepared(train=100))
    assert plan.train_iters == 12
    assert plan.epochs == 1.0


@pytest.mark.parametrize(
    ("train", "iterations"),
    [({"train_iters": 5000}, 5000), ({"train_samples": 83}, 10), ({"num_epochs": 2}, 24), ({"num_epochs": 0.5}, 6)],
)
def test_the_length_is_given_in_iterations_samples_or_epochs(train, iterations):
    assert planned(config(train), prepared(train=100)).train_iters == iterations


def test_warm_up_in_samples_is_rounded_up_to_iterations():
    # The documented full SFT: 30,000 samples in batches of 64.
    plan = planned(
        config({"global_batch_size": 64, "train_iters": 1000}, scheduler={"lr_warmup_samples": 30000}),
        prepared(train=1000),
    )
    assert plan.warmup_iters == 469


@pytest.mark.parametrize(
    ("scheduler", "iterations"),
    [
        ({"lr_warmup_fraction": 0.05}, 50),
        ({"lr_warmup_fraction": 0.05, "lr_decay_iters": 500}, 25),
        ({"lr_warmup_fraction": 0.05, "lr_decay_samples": 801}, 6),  # of 101 iterations
        ({"lr_warmup_fraction": 0.05, "max_steps": 2000}, 100),
        ({"lr_warmup_iters": 7, "lr_warmup_samples": None}, 7),
    ],
)
def test_warm_up_as_a_fraction_is_of_the_decay(scheduler, iterations):
    assert planned(config({"train_iters": 1000}, scheduler=scheduler), prepared()).warmup_iters == iterations


def test_the_preview_names_the_switch_and_the_tokens():
    stages = LossConfig([StageConfig("token"), StageConfig("sample", 0.5)])
    rows = dict(planned(config({"train_iters": 24}, loss=stages), prepared()).rows())
    assert rows["loss averages over"] == "token from iteration 1, sample from iteration 13"
    assert rows["iterations"] == "24 of 8 packs (2.00 epochs)"
    assert rows["tokens"] == f"up to {24 * 8 * 4096:,}"
    assert "a sample is" not in rows


def test_the_preview_begins_with_the_data_and_its_packs():
    rows = planned(config({"train_iters": 24}, scheduler={"lr_warmup_iters": 3}), prepared()).rows()
    assert rows[:2] == [
        ("data", "SFTDataArtifact-sft:v1 (100 train and 4 valid packs)"),
        ("pack size", "4,096 tokens"),
    ]
    assert ("learning-rate warm-up", "3 iterations") in rows


def test_the_plan_names_the_tokenizer_of_the_data_unless_another_is_set():
    made = replace(prepared(), tokenizer=DataTokenizer("mine"))
    assert planned(config(), made).tokenizer == "mine"
    assert planned(config(tokenizer={"tokenizer_model": "copy"}), made).tokenizer == "copy"
    assert planned(config(), prepared()).tokenizer is None


def test_the_plan_keeps_what_sets_the_length():
    assert planned(config(), prepared()).length == ("train.num_epochs", 1)
    assert planned(config({"train_samples": 83}), prepared()).length == ("train.train_samples", 83)


def test_the_preview_says_where_a_sample_is_a_whole_conversation():
    loss = LossConfig([StageConfig("sample")], sample_unit="conversation")
    rows = dict(planned(config({"train_iters": 24}, loss=loss), prepared()).rows())
    assert rows["a sample is"] == "a conversation, all its sequences together"


def test_what_may_not_be_meant_is_a_note():
    settings = config({"train_iters": 5}, scheduler={"lr_warmup_iters": 5})
    rows = planned(settings, prepared(valid=0)).rows()
    notes = [value for name, value in rows if name == "note"]
    assert "lr_warmup_iters" in notes[0]
    assert "valid split" in notes[1]
    assert planned(config({"train_iters": 5}), prepared()).notes == []


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        ({"eval_interval": 10}, "every 10 iterations and at the end, the whole valid split"),
        ({"eval_iters": 4}, "at the end, on the next 32 of 100 packs each time"),
        ({"eval_iters": 4, "eval_global_batch_size": 25}, "at the end, the whole valid split"),
        ({"eval_iters": 0}, "none (validation.eval_iters=0)"),
    ],
)
def test_how_much_an_evaluation_reads(validation, said):
    assert dict(planned(config(validation=validation), prepared(valid=100)).rows())["validation"] == said


def test_the_plan_says_where_a_run_starts_or_goes_on(tmp_path):
    settings = config(run=RunConfig(output_dir=str(tmp_path)))
    assert dict(planned(settings, prepared()).rows())["starts from"] == "random weights, seed 1"
    write_checkpoint(tmp_path / "checkpoints", 20)
    plan = planned(settings, prepared(), find_run_folder(settings))
    assert plan.start.description == f"iteration 20, saved in {tmp_path}/checkpoints"


def test_arithmetic_of_a_token_is_counted_where_shape_and_lengths_are_known():
    shape = KNOWN_SHAPES["nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"]
    settings, measured = config(), replace(prepared(), mean_length=1000.0)
    counts, start = count_run(settings, measured), find_start(settings)
    plan = make_plan(settings, counts, measured, start, shape=shape)
    assert plan.flops_per_token == flops_per_token(shape, 1000.0)
    assert make_plan(settings, counts, prepared(), start, shape=shape).flops_per_token is None
    assert make_plan(settings, counts, measured, start).flops_per_token is None
    adapters = replace(settings, peft=PeftConfig())
    assert make_plan(adapters, counts, measured, start, shape=shape).flops_per_token == flops_per_token(
        shape, 1000.0, adapters_only=True
    )


def test_without_data_only_what_the_config_says_is_known():
    counts = count_run(config(dataset={"seq_length": 512}), None)
    assert (counts.train_packs, counts.train_iters, counts.schedule, counts.pack_size) == (None, None, None, 512)
    counts = count_run(config({"train_iters": 30}, scheduler={"lr_warmup_fraction": 0.1}), None)
    assert (counts.train_iters, counts.warmup_iters, counts.pack_size) == (30, 3, None)
    assert counts.schedule is not None


def test_the_pack_size_is_the_one_that_the_data_was_made_with():
    assert count_run(config(dataset={"seq_length": 512}), prepared()).pack_size == 4096
    unknown = replace(prepared(), pack_size=None)
    assert count_run(config(dataset={"seq_length": 512}), unknown).pack_size == 512


def test_every_length_in_the_config_is_listed():
    counts = count_run(config({"train_iters": 30, "train_samples": 83, "num_epochs": None}), prepared())
    assert counts.lengths == {"train.train_iters": 30, "train.train_samples": 83}


@pytest.mark.parametrize(("packs", "epochs", "iterations"), [(100, 0.01, 1), (7, 1, 1), (100, 1.5, 18), (100, 0.3, 4)])
def test_a_part_of_an_epoch_is_rounded_to_whole_iterations_and_at_least_one(packs, epochs, iterations):
    """100 packs are 12 whole batches of 8; 7 are none."""
    plan = planned(config({"num_epochs": epochs}), prepared(train=packs))
    assert plan.train_iters == iterations
    assert plan.epochs == iterations / max(1, packs // 8)


@pytest.mark.parametrize(
    ("scheduler", "iterations"),
    [
        ({}, None),
        ({"lr_decay_iters": 40}, 40),
        ({"max_steps": 50}, 50),
        ({"lr_decay_iters": 40, "max_steps": 50}, 40),
        ({"lr_decay_samples": 81}, 11),  # of 8 packs, the last one partly
        ({"lr_decay_samples": 80, "lr_decay_iters": 40}, 10),
    ],
)
def test_the_decay_is_given_in_iterations_or_samples(scheduler, iterations):
    assert planned(config(scheduler=scheduler), prepared()).decay_iters == iterations


@pytest.mark.parametrize("start", [math.inf, math.nan])
def test_a_stage_that_starts_at_no_number_gives_no_schedule(start):
    """checks/ refuses it by name."""
    stages = LossConfig([StageConfig("token"), StageConfig("sample", start)])
    assert count_run(config(loss=stages), prepared()).schedule is None


def test_the_layout_stands_between_the_start_and_the_notes():
    data = PreparedData("mine", Path("/data"), {"train": 100}, pack_size=4096)
    rows = planned(config({"train_iters": 1}, scheduler={"lr_warmup_iters": 2}), data).rows([("ranks share", "x")])
    names = [name for name, _ in rows]
    assert names[names.index("starts from") :] == ["starts from", "ranks share", "note", "note"]
    assert dict(rows)["validation"] == "none: the valid split is empty"
    assert "(100 train and 0 valid packs)" in dict(rows)["data"]
