"""Numbers that cannot be calculated with, refused by key and value."""

import math

import pytest

from nemotron.training.checks.numbers import check_numbers
from nemotron.training.config import SftConfig


def problems(key, value):
    """What is said of one setting in an otherwise right config."""
    section, name = key.split(".")
    sections = {"train": {"global_batch_size": 4}}
    sections.setdefault(section, {})[name] = value
    return [str(problem) for problem in check_numbers(SftConfig(**sections))]


@pytest.mark.parametrize("key", ["train.global_batch_size", "train.train_iters", "logger.log_interval"])
def test_whole_numbers_from_one(key):
    assert not problems(key, 1)
    for wrong in (0, -1, 1.0, True, "1"):
        [problem] = problems(key, wrong)
        assert key in problem
        assert repr(wrong) in problem


def test_a_warm_up_may_be_of_nothing():
    assert not problems("scheduler.lr_warmup_iters", 0)
    assert problems("scheduler.lr_warmup_iters", -1)
    assert problems("scheduler.lr_warmup_iters", False)


@pytest.mark.parametrize("wrong", [0, -0.5, math.inf, math.nan, True, "2"])
def test_epochs_are_a_positive_number(wrong):
    assert not problems("train.num_epochs", 0.5)
    [problem] = problems("train.num_epochs", wrong)
    assert "train.num_epochs" in problem


@pytest.mark.parametrize("wrong", [-0.1, math.inf, math.nan, True, "0.1"])
def test_the_weight_of_mtp_is_a_number_from_zero(wrong):
    for right in (0, 0.3, 2):
        assert not problems("model.mtp_loss_scaling_factor", right)
    [problem] = problems("model.mtp_loss_scaling_factor", wrong)
    assert "model.mtp_loss_scaling_factor" in problem
