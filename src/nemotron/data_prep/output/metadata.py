"""Define the contents of metadata.json, which counting.py counts."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import orjson

from nemotron.data_prep.output.counting_roles import RoleStats
from nemotron.data_prep.output.distributions import Distribution
from nemotron.data_prep.packing.shards import ShardReceipt
from nemotron.data_prep.run_hash import FORMAT_VERSION
from nemotron.files.regular_files import read_bytes
from nemotron.files.typed import typed
from nemotron.secrets import mask_values


class Place(TypedDict):
    """Where a row is."""

    file: str
    line: int
    """From 1."""


@dataclass(frozen=True)
class NoteStats:
    """A note on rows, which does not drop them (see notes.py)."""

    kind: str
    """The kind of note: [outcomes.md](outcomes.md#noticed)."""
    name: str
    """The token or field that it is about; empty if the kind says everything."""
    rows: int
    """The number of rows with this note."""
    places: list[Place]
    """The first of these rows: file, line (from 1)."""

    @property
    def title(self) -> str:
        """The kind, and what it is about."""
        return f"{self.kind} {self.name}" if self.name else self.kind


@dataclass(frozen=True)
class CheckStats:
    """One finding of a check, over the conversations that were read."""

    check: str
    """The check, by its name in the blend."""
    found: str
    """The finding: a language, a use of tools, or a length."""
    conversations: int
    """The number of conversations with this finding."""
    share: float
    """Their share of the conversations that the check examined."""


@dataclass(frozen=True)
class ModeStats:
    """What a dataset has in one reasoning mode, counted as often as it is used."""

    mode: str
    """The reasoning mode."""
    conversations: int
    """Conversations that train in this mode."""
    sequences: int
    """Their sequences."""
    supervised_tokens: int
    """Their supervised tokens."""
    asked: float | None
    """The requested share of the conversations to choose from, for a mode that is chosen by share."""
    got: float | None
    """The actual share."""


@dataclass(frozen=True)
class DatasetStats:
    """Counts of the rows of one dataset.

    `rows == kept + sum(dropped.values())`, always.
    """

    name: str
    """The dataset's name in the blend."""
    goes_to: str | None
    """The split for which the blend lists it, if the blend lists splits."""
    weight: float | None
    """Its weight in the blend."""
    files: int
    """Input files."""
    bytes: int
    """The size of the input files."""
    rows: int
    """Rows read."""
    kept: int
    """Conversations in the output, each counted once."""
    repeated: int
    """Further uses of these conversations, if the blend repeats them."""
    dropped: dict[str, int]
    """Rows that are not in the output, by reason."""
    duplicates: int
    """Conversations identical to an earlier one of the blend, whether dropped or not."""
    notes: list[NoteStats]
    """Notes on its rows, kept or not, by kind, the most frequent first."""
    truncated: int
    """Kept conversations of which a part did not fit."""
    masked_sequences: int
    """Sequences of kept conversations that were left out because nothing in them trains."""
    sequences: int
    """Sequences in the output."""
    tokens: int
    """Their tokens, without padding."""
    supervised_tokens: int
    """Tokens the trainer learns to predict."""
    roles: dict[str, RoleStats]
    """The same tokens by role (token_roles/role.py)."""
    asked: float | None
    """The share of its split's conversations that the blend's weights ask for; None without weights."""
    got: float | None
    """The actual share, counted as often as they are used; None if the split has no conversations."""
    conversation_share: float
    """Share of all conversations in the output, counted as often as they are used."""
    share_of_supervised: float
    """Share of all supervised tokens in the output: its part of the per-token loss."""
    fill: float | None
    """Average fill of the packs with its tokens; null if it has no token in the output."""
    modes: list[ModeStats]
    """Its reasoning modes, requested or actual."""

    checks: list[CheckStats]
    """Findings of the checks that the blend asks for."""

    @property
    def title(self) -> str:
        """Return the name, with the split if the blend lists the dataset for one.

        The same dataset may be listed for several splits.
        """
        return f"{self.name} ({self.goes_to})" if self.goes_to else self.name


@dataclass(frozen=True)
class SplitStats:
    """Counts of one split."""

    name: str
    """`train`, `valid` or `test`."""
    path: str
    """Relative to the folder of metadata.json."""
    conversations: int
    """Conversations, counted as often as they are used."""
    sequences: int
    """Sequences."""
    packs: int
    """Packs: rows of its Parquet files."""
    tokens: int
    """Tokens, without padding."""
    padding: int
    """Further tokens, which fill sequences up to a multiple of `pad_to_multiple`."""
    supervised_tokens: int
    """Tokens the trainer learns to predict."""
    fill: float
    """(tokens + padding) / (packs * pack_size)."""
    shards: list[ShardReceipt]
    """Its Parquet files."""


@dataclass(frozen=True)
class OverlongStats:
    """What was lost to the length limit."""

    policy: str
    """The setting `overlong`."""
    limit: int
    """Most tokens of a sequence."""
    truncated: int
    """Kept conversations of which a part did not fit."""
    dropped: int
    """Conversations dropped for their length."""
    lost_supervised_share: float
    """Share of lost supervised tokens, of conversations that were not left out for another reason."""
    pack_size_for_99_percent: int
    """The smallest pack size with which `split_turns` keeps 99 % of these tokens."""


@dataclass(frozen=True)
class Metadata:
    """Everything counted in one run, and the settings a trainer needs."""

    run_hash: str
    """Hash of everything that decides the output."""
    config_name: str
    """The setting `config_name`."""
    pack_size: int
    """Tokens per pack."""
    pad_to_multiple: int
    """Each sequence is padded to a multiple of this."""
    algorithm: str
    """The packing algorithm."""
    seed: int
    """The seed of packing and of weighted blends."""
    special_tokens_in_content: str
    """The setting of that name."""
    tokenizer: dict[str, Any]
    """Model, revision, digest, vocabulary size and eos id."""
    chat_template: dict[str, str]
    """Name and digest."""
    blend: str
    """The blend file, or the data itself."""
    datasets: list[DatasetStats]
    """Counts of each dataset."""
    splits: list[SplitStats]
    """Counts of each split."""
    overlong: OverlongStats
    """What was lost to the length limit."""
    distributions: dict[str, Distribution]
    """Lengths and fill, in bins (distributions.py)."""
    low_effort: dict[str, float]
    """The share of low-effort conversations in the mix, requested (`asked`; 0 if it was not) and actual (`got`)."""
    format_version: int = field(default=FORMAT_VERSION)
    """Version of the written files. The changelog lists the versions."""

    @property
    def tokens(self) -> int:
        return sum(split.tokens for split in self.splits)

    @property
    def supervised_tokens(self) -> int:
        return sum(split.supervised_tokens for split in self.splits)

    @property
    def padding(self) -> int:
        return sum(split.padding for split in self.splits)

    @property
    def sequence_lengths(self) -> dict[str, float]:
        """Return the lengths of the output's sequences, in tokens, by quantile."""
        return self.distributions["sequence_tokens"].quantiles

    @property
    def conversations(self) -> int:
        return sum(dataset.kept + dataset.repeated for dataset in self.datasets)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values, with totals and with secrets masked."""
        totals = {name: getattr(self, name) for name in ("conversations", "tokens", "padding", "supervised_tokens")}
        return mask_values({**asdict(self), "totals": totals})


def read_metadata(path: Path) -> Metadata | None:
    """Read the metadata of a finished run.

    None means that there is none of this format, or that the file is damaged.
    """
    try:
        content = orjson.loads(read_bytes(path))
        if not isinstance(content, dict) or content.pop("totals", None) is None:
            return None
        return typed(Metadata, content) if content.get("format_version") == FORMAT_VERSION else None
    except (OSError, ValueError):
        return None
