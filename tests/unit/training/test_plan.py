"""How long a run is, counted from its config and its data."""

from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.config import LossConfig, SftConfig, StageConfig
from nemotron.training.plan import make_plan
from nemotron.training.prepared import PreparedData


def prepared(train=100, valid=4, **metadata):
    packs = {"train": train, "valid": valid}
    return PreparedData(Path("/data/splits"), packs, {"pack_size": 4096, **metadata}, "SFTDataArtifact-sft:v1")


def config(train=None, **sections):
    return SftConfig(train={"global_batch_size": 8, **(train or {})}, **sections)


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
        SftConfig(train={"global_batch_size": 64, "train_iters": 1000}, scheduler={"lr_warmup_samples": 30000}),
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
        (config(dataset={"seq_length": 2048}), "was packed to 4096 tokens"),
        (config(scheduler={"lr_warmup_samples": 8, "lr_warmup_iters": 1}), "given twice"),
        (config(scheduler={"lr_warmup_samples": "30k"}), "scheduler.lr_warmup_samples is '30k'"),
        (config(model={"context_parallel_size": "two"}), "model.context_parallel_size is 'two'"),
        (config(validation={"eval_iters": "all"}), "validation.eval_iters is 'all'"),
        (config(logger={"log_interval": 0}), "logger.log_interval is 0"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused_before_anything_starts(settings, message):
    with pytest.raises(UserError) as error:
        make_plan(settings, prepared(train=100))
    assert message in error.value.message
    assert error.value.hint
