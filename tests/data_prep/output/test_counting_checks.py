"""What the checks of a blend find, counted."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from nemotron.data_prep.output.counting_checks import _lengths


def test_conversations_are_counted_by_their_longest_sequence_also_where_there_are_none() -> None:
    corpus = SimpleNamespace(
        of_dataset=lambda number: (slice(2, 5), slice(1, 5)),
        conversation=np.array([1, 2, 2, 3, 4]),
        length=np.array([99, 3, 11, 10, 21]),
    )
    counted = _lengths(0, cast(Any, corpus), pack_size=80)
    assert [stats.conversations for stats in counted] == [1, 1, 1, 0, 0]
    assert [stats.share for stats in counted] == [1 / 3, 1 / 3, 1 / 3, 0, 0]
    assert [stats.found.split()[-2:] for stats in counted[:4]] == [[str(size), "tokens"] for size in (10, 20, 40, 80)]
