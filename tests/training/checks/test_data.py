"""Packs and padding that do not fit the settings are refused by number."""

from pathlib import Path

import pytest

from nemotron.training.checks.data import check_pack_size, check_padding
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData


def data(**recorded):
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data/splits"), {"train": 8}, **recorded)


@pytest.mark.parametrize(("ranks", "padded_to"), [(1, 1), (2, 4), (2, 8), (8, 16)])
def test_padding_that_context_parallel_ranks_can_share(ranks, padded_to):
    settings = SftConfig(model={"context_parallel_size": ranks})
    assert [*check_padding(settings, data(pad_to_multiple=padded_to))] == []


@pytest.mark.parametrize(("ranks", "padded_to"), [(2, 1), (2, 2), (4, 4), (3, 8)])
def test_padding_that_they_cannot_share_names_the_one_that_is_needed(ranks, padded_to):
    settings = SftConfig(model={"context_parallel_size": ranks})
    [problem] = check_padding(settings, data(pad_to_multiple=padded_to))
    assert f"pad_to_multiple={padded_to}" in problem.message
    assert f"pad_to_multiple={2 * ranks}" in problem.hint


def test_the_trainers_padding_follows_from_the_data():
    [problem] = check_padding(SftConfig(dataset={"pad_seq_to_mult": 4}), data(pad_to_multiple=2))
    assert "dataset.pad_seq_to_mult is 4" in problem.message
    assert [*check_padding(SftConfig(dataset={"pad_seq_to_mult": 4}), data(pad_to_multiple=8))] == []


def test_data_that_does_not_record_its_pack_size_needs_it_said():
    [problem] = check_pack_size(SftConfig(), data())
    assert "dataset.seq_length" in problem.hint
    assert [*check_pack_size(SftConfig(dataset={"seq_length": 512}), data())] == []
    assert [*check_pack_size(SftConfig(), data(pack_size=512))] == []
