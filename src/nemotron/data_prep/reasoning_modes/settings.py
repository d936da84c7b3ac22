"""Merge the config's `reasoning` settings with a dataset's own."""

from dataclasses import asdict
from typing import Any

from nemotron.config.convert import convert
from nemotron.config.located import attach_origin, merge
from nemotron.config.schema import refuse_unknown
from nemotron.data_prep.config import DatasetReasoning, ReasoningConfig, check_reasoning
from nemotron.data_prep.reasoning_modes.choice import BudgetControl, ReasoningControl
from nemotron.errors import UserError


def merge_control(config: ReasoningConfig, own: dict[str, Any] | None, dataset: str) -> ReasoningControl:
    """Return the reasoning settings of a dataset.

    Args:
        config: The `reasoning` section of the config.
        own: The section of the dataset's entry in the blend, whose keys replace the config's.
        dataset: The dataset's name, for messages.

    Raises:
        UserError: A key or a value in the dataset's section is wrong.
    """
    where = f'dataset "{dataset}": reasoning'
    settings = asdict(config)
    base = {"off": settings["off"], "effort": None, "budget": settings["budget"]}
    if own is not None:
        over = attach_origin(own, where)
        refuse_unknown(DatasetReasoning, over)
        merged = convert(DatasetReasoning, merge(attach_origin(base, where), over))
    else:
        merged = DatasetReasoning(config.off, None, config.budget)
    try:
        check_reasoning(merged.off, merged.budget)
    except UserError as error:
        raise UserError(f"{where}: {error.message}", error.hint) from None
    budget = merged.budget
    control = None
    if budget.share > 0:
        control = BudgetControl(
            budget.share, budget.tokens[0], budget.tokens[1], budget.spacing, budget.tell, budget.train, budget.cut
        )
    return ReasoningControl(merged.off, merged.effort == "low", control, config.seed)
