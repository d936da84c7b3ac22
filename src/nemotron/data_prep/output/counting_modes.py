"""Count the reasoning modes of each dataset, requested and actual."""

import numpy as np

from nemotron.data_prep.output.metadata import ModeStats
from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.reasoning_modes.mode import MODES, Mode
from nemotron.data_prep.reasoning_modes.settings import merge_control
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.overlong import Cut
from nemotron.data_prep.selection.select import Selection

CHOSEN_FROM = (Mode.ON, Mode.OFF, Mode.BUDGET, Mode.WITHIN_BUDGET)
"""Modes of conversations with reasoning whose rows set no mode. Requested shares refer to these."""
LOW_EFFORT = (Mode.LOW_EFFORT, Mode.ROW_LOW_EFFORT)


def count_modes(
    plan: PrepPlan, number: int, corpus: Corpus, cut: Cut, selection: Selection, copies: np.ndarray
) -> list[ModeStats]:
    """Count the reasoning modes of dataset `number`.

    `copies`, [sequences], has how often each sequence is used.
    """
    dataset = plan.datasets[number].dataset
    its_conversations, its_sequences = corpus.of_dataset(number)
    used = _by_mode(corpus.mode[its_conversations], selection.copies[its_conversations])
    mode_of_sequence = corpus.mode[corpus.conversation[its_sequences]]
    sequences = _by_mode(mode_of_sequence, copies[its_sequences])
    supervised = _by_mode(mode_of_sequence, copies[its_sequences] * cut.targets[its_sequences])
    control = merge_control(plan.config.reasoning, dataset.reasoning, dataset.name)
    asked = {Mode.OFF: control.off, Mode.BUDGET: control.budget.share if control.budget else 0.0}
    if control.low_effort:
        asked = {Mode.LOW_EFFORT: 1.0}
    whole = sum(used[MODES.index(mode)] for mode in CHOSEN_FROM)
    stats = []
    for code, mode in enumerate(MODES):
        if not used[code] and not asked.get(mode):
            continue
        chosen = used[code] + (used[MODES.index(Mode.WITHIN_BUDGET)] if mode is Mode.BUDGET else 0)
        among = used.sum() if mode is Mode.LOW_EFFORT else whole
        got = float(chosen / among) if mode in asked and among else None
        stats.append(
            ModeStats(
                mode.value, int(used[code]), int(sequences[code]), int(supervised[code]), asked.get(mode) or None, got
            )
        )
    return stats


def low_effort_share(corpus: Corpus, selection: Selection) -> float:
    """Return the share of the output's conversations that have the low-effort flag."""
    used = _by_mode(corpus.mode, selection.copies)
    return float(sum(used[MODES.index(mode)] for mode in LOW_EFFORT) / max(used.sum(), 1))


def _by_mode(modes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.bincount(modes, counts, len(MODES))
