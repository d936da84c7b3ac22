"""Texts that the workers encode together, to choose the encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nemotron.data_prep.tokenize_inputs import _ids_of_workers
from nemotron.data_prep.tokenizer.encoders import Encoded


@pytest.mark.parametrize(("texts", "shares"), [(7, [3, 4]), (4, [2, 2]), (1, [1])])
def test_every_text_is_in_the_share_of_one_worker_and_the_ids_keep_their_order(texts: int, shares: list[int]) -> None:
    sent: list[Sequence[str]] = []

    def run(work: Any, definition: bytes, things: list[Sequence[str]], **_: Any) -> list[Encoded]:
        sent.extend(things)
        return [Encoded(np.array([int(text) for text in share]), np.ones(len(share), np.int64)) for share in things]

    encoded = _ids_of_workers(run, 2, b"definition", [str(number) for number in range(texts)])
    assert [len(share) for share in sent] == shares
    assert not isinstance(encoded, str)
    assert encoded.ids.tolist() == list(range(texts))
    assert encoded.lengths.tolist() == [1] * texts
