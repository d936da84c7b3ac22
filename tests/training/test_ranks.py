"""Which process of a run this one is."""

import pytest

from nemotron.training.ranks import count_ranks, is_first, is_first_here, is_last


@pytest.mark.parametrize(
    ("variables", "ranks", "first", "last", "first_here"),
    [
        ({}, 1, True, True, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}, 4, True, False, True),
        ({"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}, 4, False, False, True),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}, 4, False, True, False),
    ],
)
def test_a_process_knows_what_it_does_for_others(monkeypatch, variables, ranks, first, last, first_here):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (count_ranks(), is_first(), is_last(), is_first_here()) == (ranks, first, last, first_here)
