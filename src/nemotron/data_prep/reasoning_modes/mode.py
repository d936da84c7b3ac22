"""The reasoning modes that a conversation can be in."""

from enum import StrEnum


class Mode(StrEnum):
    """What a conversation trains.

    Each has one; those of rows that say their own are counted apart.
    """

    NO_REASONING = "no_reasoning"
    ON = "on"
    OFF = "off"
    LOW_EFFORT = "low_effort"
    BUDGET = "budget"
    WITHIN_BUDGET = "within_budget"
    """Chosen for a budget, but every thought is shorter than the one drawn: it stays as it is."""
    ROW_ON = "row_on"
    ROW_OFF = "row_off"
    ROW_LOW_EFFORT = "row_low_effort"
    ROW_BUDGET = "row_budget"


MODES = tuple(Mode)
"""By their code, as parts on disk hold it."""
