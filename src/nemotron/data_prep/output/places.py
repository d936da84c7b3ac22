"""Find the file and line of a row from its number in a part."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.tokenization.part_files import PartReceipt


class PartPlace(NamedTuple):
    """A tokenized part, in plan order."""

    dataset: int
    """The dataset's position in the plan."""
    name: str
    """The dataset's name."""
    files: tuple[str, ...]
    starts: Sequence[int]
    """For each file, its first line in the part."""
    lines_before: int
    """Lines of the file before the part; 0 if it has several files."""

    def of(self, line: int) -> dict[str, Any]:
        """Return the dataset, file and line (from 1) of a row.

        Args:
            line: The row's line in the part, from 0.
        """
        number = bisect_right(self.starts, line) - 1
        in_file = self.lines_before + line - self.starts[number]
        return {"dataset": self.name, "file": self.files[number], "line": in_file + 1}


def find_places(plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]]) -> list[PartPlace]:
    """Return where every tokenized part of a plan begins. `receipts` are per dataset."""
    return [place for number, of_dataset in enumerate(receipts) for place in find_places_of(plan, number, of_dataset)]


def find_places_of(plan: PrepPlan, number: int, receipts: Sequence[PartReceipt]) -> Iterator[PartPlace]:
    """Yield where every tokenized part of dataset `number` begins."""
    planned, lines = plan.datasets[number], 0
    for bundle, receipt in zip(planned.bundles, receipts, strict=True):
        lines = 0 if bundle.parts[0].index == 0 else lines
        files = tuple(part.file.path for part in bundle.parts)
        yield PartPlace(number, planned.dataset.name, files, receipt.starts, lines)
        lines += receipt.lines
