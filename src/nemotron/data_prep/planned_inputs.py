"""Plan the inputs of a run: files, their parts, and what is tokenized together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nemotron.data_prep.reasoning_modes.choice import ReasoningControl
from nemotron.data_prep.run_hash import hash_bundle
from nemotron.data_prep.sources import InputFile, Part, cut
from nemotron.data_prep.sources.blend import Dataset

SMALL_BYTES = 2**18
"""The largest file that is bundled: tokenizing it takes about as long as writing a tokenized part of its own."""
FEW_FILES = 32
"""Up to this many small files are not bundled, so that a changed file is the only one that is tokenized again."""
BUNDLE_BYTES = 4 * 2**20
"""The most bytes of a bundle."""
BUNDLE_FILES = 256
"""The average number of files in a bundle, if they are tiny."""


@dataclass(frozen=True)
class PlannedFile:
    """An input file, its parts, and the folder of their tokens."""

    file: InputFile
    hash: str
    """Hash of everything that decides its tokens."""
    parts: tuple[Part, ...]
    folder: Path
    """Named by that hash, or for a bundle by those of all its files."""


@dataclass(frozen=True)
class Bundle:
    """What is tokenized together: one part of a file, or several small files."""

    parts: tuple[Part, ...]
    output: Path
    """Path of the tokenized part, without suffix."""


@dataclass(frozen=True)
class PlannedDataset:
    """A dataset of the blend and its files."""

    dataset: Dataset
    files: tuple[PlannedFile, ...]
    bundles: tuple[Bundle, ...]
    """All parts of its files, in order."""
    reasoning: ReasoningControl
    """The reasoning modes in which its conversations train."""

    @property
    def bytes(self) -> int:
        return sum(planned.file.size for planned in self.files)

    def count_parts(self) -> int:
        """Count the parts of its files."""
        return sum(len(planned.parts) for planned in self.files)

    @property
    def folders(self) -> list[Path]:
        """The folders of its tokens."""
        return list(dict.fromkeys(planned.folder for planned in self.files))


class _CutFile(NamedTuple):
    file: InputFile
    hash: str
    parts: tuple[Part, ...]

    @property
    def is_small(self) -> bool:
        return self.file.size <= SMALL_BYTES and len(self.parts) == 1


def plan_files(
    files: Sequence[InputFile], hashes: Sequence[str], folder: Path
) -> tuple[tuple[PlannedFile, ...], tuple[Bundle, ...]]:
    """Cut the files of a dataset into parts, and bundle many small ones.

    Args:
        files: The files, in order.
        hashes: For each file, the hash of everything that decides its tokens.
        folder: Where the tokens of the dataset go.

    Raises:
        UserError: A file cannot be read.
    """
    planned: list[PlannedFile] = []
    bundles: list[Bundle] = []
    for together in _bundle([_CutFile(file, hash, tuple(cut(file))) for file, hash in zip(files, hashes, strict=True)]):
        is_one = len(together) == 1
        named = folder / (together[0].hash if is_one else hash_bundle([each.hash for each in together]))
        planned += (PlannedFile(*each, named) for each in together)
        parts = [(part,) for part in together[0].parts] if is_one else [tuple(each.parts[0] for each in together)]
        bundles += (Bundle(of, named / f"part_{number:06d}") for number, of in enumerate(parts))
    return tuple(planned), tuple(bundles)


def _bundle(files: Sequence[_CutFile]) -> Iterator[list[_CutFile]]:
    """Yield the files that are tokenized together, in order.

    Only their contents decide, because the output must not depend on the number of workers. A bundle begins at a file
    whose hash says so, and not after so many files: otherwise a new file would shift the borders of all later bundles.
    """
    if sum(file.is_small for file in files) <= FEW_FILES:
        yield from ([file] for file in files)
        return
    together: list[_CutFile] = []
    size = 0
    for file in files:
        begins = not file.is_small or size + file.file.size > BUNDLE_BYTES or int(file.hash, 16) % BUNDLE_FILES == 0
        if together and (begins or not together[-1].is_small):
            yield together
            together, size = [], 0
        together.append(file)
        size += file.file.size
    yield together
