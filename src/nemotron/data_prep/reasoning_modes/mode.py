"""Define the reasoning modes of conversations."""

from enum import StrEnum


class Mode(StrEnum):
    """The reasoning mode of a conversation.

    Modes that rows set themselves are counted separately.
    """

    NO_REASONING = "no_reasoning"
    ON = "on"
    OFF = "off"
    LOW_EFFORT = "low_effort"
    BUDGET = "budget"
    WITHIN_BUDGET = "within_budget"
    """Chosen for a budget, but every thought is shorter than the budget, so it is unchanged."""
    ROW_ON = "row_on"
    ROW_OFF = "row_off"
    ROW_LOW_EFFORT = "row_low_effort"
    ROW_BUDGET = "row_budget"


MODES = tuple(Mode)
"""Modes by the code that parts on disk use."""
