"""The inputs of a run, as its plan.json names them."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from nemotron.errors import UserError
from nemotron.files.regular_files import read_bytes
from nemotron.files.typed import typed


@dataclass(frozen=True)
class WrittenFile:
    """An input file."""

    path: str
    parts: int
    tokens: str
    """The folder of its tokenized parts."""


@dataclass(frozen=True)
class WrittenDataset:
    """A dataset of the blend."""

    name: str
    files: list[WrittenFile]

    def link(self, run: Path, file: WrittenFile) -> Path:
        """Return the run's link to the tokenized parts of one of its files."""
        return run / "datasets" / self.name / Path(file.tokens).name


@dataclass(frozen=True)
class _Plan:
    datasets: list[WrittenDataset]


def read_inputs(run: Path) -> list[WrittenDataset]:
    """Read the datasets of a run.

    Raises:
        UserError: plan.json is missing or damaged.
    """
    path = run / "plan.json"
    try:
        return typed(_Plan, orjson.loads(read_bytes(path)), ignores_unknown=True).datasets
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "Prepare the data again with --force.") from None
