"""Reasoning modes of a dataset: what was asked for, and what it got."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from nemotron.data_prep.config import BudgetConfig, ReasoningConfig
from nemotron.data_prep.output.counting_modes import count_modes, low_effort_share
from nemotron.data_prep.output.metadata import ModeStats
from nemotron.data_prep.reasoning_modes.mode import MODES, Mode

BUDGETS = ReasoningConfig(off=0.2, budget=BudgetConfig(share=0.4))


def counted(modes: Sequence[Mode], copies: Sequence[int], reasoning: ReasoningConfig, **own: Any) -> list[ModeStats]:
    """The modes of the second of two datasets, whose conversations have two sequences each: of 3 targets, and of 4."""
    plan: Any = SimpleNamespace(
        datasets=[None, SimpleNamespace(dataset=SimpleNamespace(name="x", reasoning=own or None))],
        config=SimpleNamespace(reasoning=reasoning),
    )
    corpus: Any = SimpleNamespace(
        mode=np.array([MODES.index(mode) for mode in (Mode.ON, *modes)], np.uint8),
        conversation=np.array([0, *np.repeat(np.arange(1, len(modes) + 1), 2)]),
        of_dataset=lambda number: (slice(1, None), slice(1, None)),
    )
    cut: Any = SimpleNamespace(targets=np.array([99, *[3, 4] * len(modes)]))
    of_conversation = np.array([1, *copies])
    selection: Any = SimpleNamespace(copies=of_conversation)
    return count_modes(plan, 1, corpus, cut, selection, of_conversation[corpus.conversation])


def test_shares_are_of_the_conversations_to_choose_from() -> None:
    """A conversation that would fit into its budget is one of those chosen for a budget; rows' own modes are apart."""
    modes = [Mode.ON, Mode.OFF, Mode.BUDGET, Mode.WITHIN_BUDGET, Mode.NO_REASONING, Mode.ROW_OFF]
    assert counted(modes, [2, 1, 1, 1, 9, 9], BUDGETS) == [
        ModeStats("no_reasoning", 9, 18, 63, asked=None, got=None),
        ModeStats("on", 2, 4, 14, asked=None, got=None),
        ModeStats("off", 1, 2, 7, asked=0.2, got=0.2),
        ModeStats("budget", 1, 2, 7, asked=0.4, got=0.4),
        ModeStats("within_budget", 1, 2, 7, asked=None, got=None),
        ModeStats("row_off", 9, 18, 63, asked=None, got=None),
    ]


def test_a_mode_that_was_asked_for_and_not_found_is_counted_too() -> None:
    assert counted([Mode.ON], [1], BUDGETS) == [
        ModeStats("on", 1, 2, 7, asked=None, got=None),
        ModeStats("off", 0, 0, 0, asked=0.2, got=0),
        ModeStats("budget", 0, 0, 0, asked=0.4, got=0),
    ]
    assert counted([Mode.ROW_ON], [1], ReasoningConfig(off=0.2)) == [
        ModeStats("off", 0, 0, 0, asked=0.2, got=None),
        ModeStats("row_on", 1, 2, 7, asked=None, got=None),
    ]


def test_low_effort_is_asked_of_the_whole_dataset() -> None:
    modes = [Mode.LOW_EFFORT, Mode.NO_REASONING]
    assert counted(modes, [3, 1], BUDGETS, effort="low") == [
        ModeStats("no_reasoning", 1, 2, 7, asked=None, got=None),
        ModeStats("low_effort", 3, 6, 21, asked=1, got=0.75),
    ]


def test_low_effort_has_the_share_of_those_chosen_and_of_rows_that_ask_for_it() -> None:
    modes = (Mode.LOW_EFFORT, Mode.ROW_LOW_EFFORT, Mode.ON, Mode.ROW_OFF)
    corpus: Any = SimpleNamespace(mode=np.array([MODES.index(mode) for mode in modes]))

    def share(*copies: int) -> float:
        selection: Any = SimpleNamespace(copies=np.array(copies))
        return low_effort_share(corpus, selection)

    assert share(1, 2, 4, 1) == 3 / 8
    assert share(1, 0, 0, 0) == 1
    assert share(0, 0, 0, 0) == 0
