"""Settings of Megatron-Bridge that would break the loss or the packs, refused by name."""

import pytest

from nemotron.training.checks.settings import check_settings
from nemotron.training.config import SftConfig


def problems(key, value, pack_size=4096):
    section, name = key.split(".")
    return [str(problem) for problem in check_settings(SftConfig(**{section: {name: value}}), pack_size)]


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("train.micro_batch_size", 1, 2),
        ("model.calculate_per_token_loss", True, False),
        ("ddp.average_in_collective", False, True),
        ("dataset.dataloader_type", "batch", "single"),
        ("train.rampup_batch_size", None, [1, 1, 100]),
        ("model.overlap_moe_expert_parallel_comm", False, True),
        ("model.seq_length", 4096, 8192),
    ],
)
def test_each_has_one_value_that_works(key, right, wrong):
    assert not problems(key, right)
    [problem] = problems(key, wrong)
    assert key in problem
    assert repr(wrong) in problem


def test_the_sequence_length_is_left_alone_where_the_data_is_not_known():
    assert not problems("model.seq_length", 8192, pack_size=None)
