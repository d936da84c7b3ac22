"""Find the file and line of a row from its number in a part."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.tokenization.part_files import PartReceipt


class PartPlace(NamedTuple):
    """A part, in plan order."""

    dataset: int
    """The dataset's position in the plan."""
    name: str
    """The dataset's name."""
    file: str
    lines_before: int
    """Lines of the file before the part."""

    def of(self, line: int) -> dict[str, Any]:
        """Return the dataset, file and line (from 1) of a row.

        Args:
            line: The row's line in the part, from 0.
        """
        return {"dataset": self.name, "file": self.file, "line": self.lines_before + line + 1}


def find_places(plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]]) -> list[PartPlace]:
    """Return where each part of a plan begins; `receipts` are per dataset."""
    places = []
    for number, (planned, of_dataset) in enumerate(zip(plan.datasets, receipts, strict=True)):
        lines = 0
        for (file, part), receipt in zip(planned.parts(), of_dataset, strict=True):
            lines = 0 if part.index == 0 else lines
            places.append(PartPlace(number, planned.dataset.name, file.file.path, lines))
            lines += receipt.lines
    return places
