"""What is left to train in a sequence that is cut at a limit."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nemotron.data_prep.selection import overlong
from nemotron.data_prep.tokenization.part_files import marked


def test_nothing_trains_in_the_history_that_sequences_begin_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of 10 tokens, 6 of the first sequence are its own; the history of the others ends there, or later.

    All own tokens are trained, and the first of a sequence has nothing before it that would predict it.
    """
    starts, shared = np.array([10, 30, 50, 70]), np.array([4, 10, 12, 0])
    index = SimpleNamespace(starts=lambda: (np.zeros(4, int), starts), shared_lengths=shared)
    corpus: Any = SimpleNamespace(
        sequence_bounds=np.array([0, 4]), read_index=lambda part: index,
        part=lambda number: SimpleNamespace(path="part", sequences=slice(0, 4)),
    )  # fmt: skip
    tokens = marked(np.arange(100, dtype=np.int32), np.ones(100, np.uint8))
    monkeypatch.setattr(overlong, "map_tokens", {"part": tokens}.__getitem__)
    assert overlong._count_targets(corpus, np.arange(4), limit=10, eos_id=-1).tolist() == [5, 0, 0, 9]
