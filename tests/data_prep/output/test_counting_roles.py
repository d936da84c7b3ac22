"""Tokens by role: of a conversation that is counted by hand, and adding up whatever is cut, left out or repeated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nemotron.data_prep.output.counting_roles import RoleStats, _count_part, _Sequences
from nemotron.data_prep.output.counting_shares import asked_shares
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.token_roles.role import CODE, Role
from nemotron.data_prep.token_roles.stretches import Stretches


def test_every_token_has_a_role(make_config: Callable[..., Any], write_rows: Callable[..., Path]) -> None:
    """A token per byte, but for the marks."""
    answer = {"role": "assistant", "content": "Hello", "reasoning_content": "Hm."}
    write_rows("chat.jsonl", [{"messages": [{"role": "user", "content": "Hi"}, answer]}])
    [dataset] = prepare(make_config("chat.jsonl")).metadata.datasets
    assert dataset.roles == {
        "system": RoleStats(1 + len("system\n") + 1 + 1, 0),  # <|im_start|> and <|im_end|> are one token each
        "user": RoleStats(1 + len("user\nHi") + 1 + 1, 0),
        "reasoning": RoleStats(1 + len("assistant\n") + 1 + len("\nHm.\n") + 1, len("Hm.\n") + 1),
        "answer": RoleStats(len("\nHello") + 1 + 1, len("\nHello") + 1),
    }


@pytest.mark.parametrize("overlong", ["split_turns", "truncate", "drop"])
def test_roles_add_up_to_the_tokens(
    overlong: str, make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    rows = [chat(*["Question?", "word " * (i % 40)] * (1 + i % 3), extra=i) for i in range(60)]
    write_rows("a.jsonl", [*rows, rows[0]])
    write_rows("b.jsonl", rows[:7])
    blend = {"datasets": [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl", "weight": 1, "repeat": True}]}
    result = prepare(make_config(blend=blend, overlong=overlong))
    assert overlong == "drop" or any(dataset.truncated for dataset in result.metadata.datasets)
    for dataset in result.metadata.datasets:
        assert sum(stats.tokens for stats in dataset.roles.values()) == dataset.tokens
        assert sum(stats.supervised_tokens for stats in dataset.roles.values()) == dataset.supervised_tokens
        assert dataset.roles["answer"].supervised_tokens == dataset.supervised_tokens


def test_a_history_counts_in_each_sequence_that_begins_with_it(
    make_config: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    answer = {"role": "assistant", "content": "Yes", "reasoning_content": "Hm."}
    write_rows("chat.jsonl", [{"messages": [{"role": "user", "content": "Hi"}, answer] * 2}])
    [dataset] = prepare(make_config("chat.jsonl", pack_size=1024)).metadata.datasets
    asked = 1 + len("user\nHi") + 1 + 1
    shown_again = 1 + len("assistant\n") + 2 + len("\nYes") + 1 + 1  # without its thought
    assert dataset.sequences == 2
    assert dataset.roles["user"] == RoleStats(3 * asked, 0)
    assert dataset.roles["answer"].tokens == shown_again + 2 * len("\nYes\n<")
    assert sum(stats.tokens for stats in dataset.roles.values()) == dataset.tokens


def test_a_history_counts_once_for_each_sequence_and_a_cut_ends_what_is_counted() -> None:
    """Two conversations: of the first, two sequences with 4 and 10 tokens of its history; of the second, one with 3.

    The first sequence is cut to the history, its question and one token of its answer. The last is used three times.
    """
    roles = [CODE[role] for role in (Role.SYSTEM, *[Role.USER, Role.USER, Role.ANSWER, Role.USER, Role.ANSWER])]
    stretches = Stretches(
        np.array([*roles, CODE[Role.SYSTEM], CODE[Role.ANSWER]], np.uint8),
        lengths=np.array([4, 6, 3, 5, 2, 6, 3, 4], np.int32),
        targets=np.array([0, 0, 0, 4, 0, 6, 0, 3], np.int32),
    )
    sequences = _Sequences(
        start=np.array([10, 18, 29]), length=np.array([12, 18, 7]), history_start=np.array([0, 0, 26]),
        shared=np.array([4, 10, 3]), kept=np.array([8, 18, 7]), targets=np.array([1, 6, 3]), copies=np.array([1, 2, 3]),
    )  # fmt: skip
    counted = _count_part(stretches, sequences)
    assert counted[CODE[Role.SYSTEM]].tolist() == [3 * 4 + 3 * 3, 0]
    assert counted[CODE[Role.USER]].tolist() == [2 * 6 + 3 + 2 * 2, 0]
    assert counted[CODE[Role.ANSWER]].tolist() == [1 + 2 * 6 + 3 * 4, 1 + 2 * 6 + 3 * 3]
    assert counted.sum() == 21 + 19 + 25 + 22


def test_weights_ask_for_shares_of_their_split() -> None:
    def dataset(weight: float | None, goes_to: str | None = None, **more: Any) -> Dataset:
        return Dataset("x", "x", weight=weight, goes_to=goes_to, **more)

    assert asked_shares([dataset(1), dataset(3)], 0) == [0.25, 0.75]
    assert asked_shares([dataset(None), dataset(None)], 0) == [None, None]
    assert asked_shares([dataset(0), dataset(0)], 0) == [0, 0]
    assert asked_shares([dataset(2, "train"), dataset(2, "train"), dataset(5, "test")], 0) == [0.5, 0.5, 1]
    low = dataset(9, reasoning={"effort": "low"})
    assert asked_shares([dataset(1), dataset(3), low], 0.2) == pytest.approx([0.2, 0.6, 0.2])
