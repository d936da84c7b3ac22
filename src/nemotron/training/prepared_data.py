"""Read prepared data: its split folders, and the settings that it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.config import config_names
from nemotron.errors import Problem, UserError, as_problem
from nemotron.files.paths import expand_home
from nemotron.files.regular_files import open_parquet
from nemotron.training.config import SftConfig
from nemotron.training.conversation_targets import CONVERSATION_TARGETS

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

_AGAIN = "Prepare the data again with --force."
_COUNTS = ("run_hash", "rows", "conversations", "dropped", "truncated")


@dataclass(frozen=True)
class DataTokenizer:
    """The tokenizer that data was prepared with."""

    model: str
    """A Hugging Face id or a folder."""
    digest: str | None = None
    """Digest of what decides the ids; equal digests mean equal ids."""
    vocab_size: int | None = None
    eos_id: int | None = None


@dataclass(frozen=True)
class PreparedData:
    """Packed splits on disk. Fields that were not recorded are None."""

    reference: str
    """The artifact, as `name:version`, or the folder."""
    splits: Path
    """The folder with train/, valid/ and test/."""
    packs: dict[str, int]
    """Number of packs (rows) of each split that has any."""
    pack_size: int | None = None
    """Tokens of a pack."""
    pad_to_multiple: int = 1
    """Every conversation is padded to a multiple of this many tokens."""
    run_hash: str | None = None
    """Hash of the settings and the inputs that the data was made from."""
    tokenizer: DataTokenizer | None = None
    has_conversation_targets: bool | None = None
    """Whether every shard has the number of supervised tokens of each sequence's whole conversation."""
    mean_length: float | None = None
    """Mean tokens of a conversation."""
    counts: dict[str, Any] = field(default_factory=dict)
    """What became of its rows, which a model made from it records."""

    def folder(self, split: str) -> Path | None:
        """Return the folder of a split, or None if it has no packs."""
        return self.splits / split if self.packs.get(split) else None

    @property
    def whence(self) -> str:
        """The artifact, if it is one, and its folder, for messages."""
        return ", ".join(dict.fromkeys([self.reference, str(self.splits)]))


def find_data(config: SftConfig, config_name: str) -> tuple[PreparedData | None, list[Problem]]:
    """Find the prepared data, or return the problem with it.

    Args:
        config: The training config.
        config_name: For the command that the problem suggests.
    """
    try:
        return find_prepared_data(config.run.data, Path(config.run.artifacts), config_name=config_name), []
    except UserError as error:
        return None, [as_problem(error)]


def find_prepared_data(reference: str, artifacts: Path, *, config_name: str) -> PreparedData:
    """Resolve `run.data` and count its packs from the Parquet footers.

    Args:
        reference: An artifact reference (`name`, `name:alias`, `name:v3`), or a folder that data prep wrote.
        artifacts: The folder of the artifact records.
        config_name: The config in use, for the command that an error suggests.

    Raises:
        UserError: There is no such artifact or folder, no Parquet in it, the train split is empty, or the record has a
            value of the wrong type.
    """
    from nemotron import lineage

    hint = _how_to_make(config_name)
    artifact = lineage.resolve(_splits_in(reference), artifacts, hint=hint)
    splits = Path(artifact.path)
    shards = {split: _read_footers(splits / split) for split in ("train", "valid", "test")}
    packs = {split: sum(shard.num_rows for shard in of_split) for split, of_split in shards.items()}
    if not packs["train"]:
        raise UserError(f"The data of {reference!r} has no training packs: {splits / 'train'} is empty.", hint)
    record = _Record(artifact.reference, artifact.metadata)
    return PreparedData(
        reference=artifact.reference,
        splits=splits,
        packs={split: count for split, count in packs.items() if count},
        pack_size=record.count("pack_size"),
        pad_to_multiple=record.count("pad_to_multiple") or 1,
        run_hash=record.text("run_hash"),
        tokenizer=_tokenizer(record),
        has_conversation_targets=all(
            CONVERSATION_TARGETS in shard.schema.to_arrow_schema().names
            for of_split in shards.values()
            for shard in of_split
        ),
        mean_length=_mean_length(artifact.metadata),
        counts={key: artifact.metadata[key] for key in _COUNTS if key in artifact.metadata},
    )


def _mean_length(facts: Mapping[str, Any]) -> float | None:
    """Return the mean tokens of a conversation, as data prep counted them."""
    try:
        return facts["tokens"] / facts["conversations"]
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def _how_to_make(config_name: str) -> str:
    """Return a hint with the command that makes the data for a training config.

    If data prep has no config of that name, it is the default.
    """
    has_own = config_name != "default" and config_name in config_names("data_prep")
    command = f"nemotron super3 data prep sft{f' -c {config_name}' if has_own else ''}"
    return f"Make it with: {command}; register packs made elsewhere with: nemotron super3 data import DIR"


def _splits_in(reference: str) -> str:
    """Return the folder of the splits if `reference` is the folder around it.

    That may be the output_dir of data prep, or a run.
    """
    splits = Path(reference) / "splits"
    return str(splits) if splits.is_dir() else reference


@dataclass(frozen=True)
class _Record:
    """The metadata of an artifact, checked as it is read."""

    owner: str
    facts: Mapping[str, Any]
    section: str = ""

    def text(self, name: str) -> str | None:
        return self._value(name, str, "text")

    def count(self, name: str, least: int = 1) -> int | None:
        value = self._value(name, int, "a whole number")
        if value is not None and value < least:
            raise UserError(f"{self.owner} records {self.section}{name} as {value}, not at least {least}.", _AGAIN)
        return value

    def inner(self, name: str) -> "_Record | None":
        facts = self._value(name, dict, "a section")
        return None if facts is None else _Record(self.owner, facts, f"{self.section}{name}.")

    def _value(self, name: str, kind: type, expected: str) -> Any:
        value = self.facts.get(name)
        if value is None or (isinstance(value, kind) and not isinstance(value, bool)):
            return value
        raise UserError(f"{self.owner} records {self.section}{name} as {value!r}, not {expected}.", _AGAIN)


def _tokenizer(record: _Record) -> DataTokenizer | None:
    tokenizer = record.inner("tokenizer")
    if tokenizer is None or (model := tokenizer.text("model")) is None:
        return None
    return DataTokenizer(
        model=expand_home(model),  # which 0.1.0 recorded as typed
        digest=tokenizer.text("digest"),
        vocab_size=tokenizer.count("vocab_size"),
        eos_id=tokenizer.count("eos_id", least=0),
    )


def _read_footers(folder: Path) -> "list[FileMetaData]":
    footers = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            footers.append(open_parquet(path).metadata)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as Parquet: {error}", _AGAIN) from None
    return footers
