"""What came out, counted: the contents of metadata.json.

Counting.py does the counting.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from nemotron.config.secrets import mask_values
from nemotron.data_prep.packing.shards import ShardReceipt
from nemotron.data_prep.run_hash import FORMAT_VERSION


@dataclass(frozen=True)
class NoteStats:
    """Something noticed in rows that does not drop them (see notes.py)."""

    kind: str
    name: str
    rows: int
    places: list[dict[str, Any]]
    """The first of them: file, line (from 1)."""

    @property
    def title(self) -> str:
        """What was noticed: the kind, and which one."""
        return f"{self.kind} {self.name}" if self.name else self.kind


@dataclass(frozen=True)
class CheckStats:
    """One finding of a check of the domain, among the conversations that were read."""

    check: str
    found: str
    conversations: int
    share: float
    """Of all that the check looked at."""


@dataclass(frozen=True)
class ModeStats:
    """What a dataset has in one reasoning mode, as often as it is used."""

    mode: str
    conversations: int
    sequences: int
    supervised_tokens: int
    asked: float | None
    """The share of the conversations to choose from, where the mode is chosen by share."""
    got: float | None
    """The share it is."""


@dataclass(frozen=True)
class DatasetStats:
    """What became of the rows of one dataset.

    `rows == kept + sum(dropped.values())`, always.
    """

    name: str
    goes_to: str | None
    weight: float | None
    files: int
    bytes: int
    rows: int
    kept: int
    """Conversations in the output, each counted once."""
    repeated: int
    """Further uses of them, where the blend repeats."""
    dropped: dict[str, int]
    """Rows that are not, by reason."""
    duplicates: int
    """Conversations identical to an earlier one of the blend, dropped for it or not."""
    notes: list[NoteStats]
    """What was noticed in its rows, kept or not, by kind, the most frequent first."""
    truncated: int
    """Kept conversations of which a part did not fit."""
    masked_sequences: int
    """Sequences of kept conversations left out because nothing in them would train."""
    sequences: int
    tokens: int
    supervised_tokens: int
    """Tokens the trainer learns to predict."""
    conversation_share: float
    """Share of all conversations in the output, as often as they are used."""
    supervised_share: float
    """Share of all supervised tokens, likewise."""
    fill: float | None
    """How full the packs are in which its tokens lie, on average; None without a token in the output."""
    modes: list[ModeStats]
    """Its reasoning modes: those that are asked for, and those that it has."""

    checks: list[CheckStats]
    """What the checks that the blend asks for found."""

    @property
    def title(self) -> str:
        """Return the name, with the split where the blend lists the dataset for one.

        The same dataset may be listed for several.
        """
        return f"{self.name} ({self.goes_to})" if self.goes_to else self.name


@dataclass(frozen=True)
class SplitStats:
    """One split as written."""

    name: str
    path: str
    """Relative to the folder of metadata.json."""
    conversations: int
    sequences: int
    packs: int
    tokens: int
    supervised_tokens: int
    fill: float
    """tokens / (packs * pack_size)."""
    shards: list[ShardReceipt]


@dataclass(frozen=True)
class OverlongStats:
    """What the limit on the length of a conversation cost."""

    policy: str
    limit: int
    truncated: int
    dropped: int
    lost_supervised_share: float
    """Of the supervised tokens of all conversations that were not left out for another reason."""
    pack_size_for_99_percent: int
    """The smallest pack size under which `split_turns` keeps 99 % of them."""


@dataclass(frozen=True)
class Metadata:
    """Everything counted in one run, and the settings a trainer needs."""

    run_hash: str
    config_name: str
    pack_size: int
    pad_to_multiple: int
    algorithm: str
    seed: int
    special_tokens_in_content: str
    tokenizer: dict[str, Any]
    chat_template: dict[str, str]
    blend: str
    datasets: list[DatasetStats]
    splits: list[SplitStats]
    overlong: OverlongStats
    sequence_lengths: dict[str, int]
    """Of the sequences in the output: shortest, quantiles, longest; in tokens."""
    length_histogram: list[list[int]]
    """[longest length in the bin, sequences]; bins end at powers of two."""
    low_effort: dict[str, float]
    """The share of low-effort conversations in the mix, `asked` (0: not asked for) and `got`."""
    format_version: int = field(default=FORMAT_VERSION)

    @property
    def tokens(self) -> int:
        return sum(split.tokens for split in self.splits)

    @property
    def supervised_tokens(self) -> int:
        return sum(split.supervised_tokens for split in self.splits)

    @property
    def conversations(self) -> int:
        return sum(dataset.kept + dataset.repeated for dataset in self.datasets)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with the totals, secrets masked."""
        totals = {name: getattr(self, name) for name in ("conversations", "tokens", "supervised_tokens")}
        return mask_values({**asdict(self), "totals": totals})


def read_metadata(path: Path) -> Metadata | None:
    """The metadata of a finished run, or None when there is none of this format."""
    try:
        content = orjson.loads(path.read_bytes())
        if content.get("format_version") != FORMAT_VERSION:
            return None
        content.pop("totals")
        splits = [
            SplitStats(**{**split, "shards": [ShardReceipt(**shard) for shard in split["shards"]]})
            for split in content.pop("splits")
        ]
        datasets = [
            DatasetStats(
                **{
                    **dataset,
                    "notes": [NoteStats(**note) for note in dataset["notes"]],
                    "checks": [CheckStats(**check) for check in dataset["checks"]],
                    "modes": [ModeStats(**mode) for mode in dataset["modes"]],
                }
            )
            for dataset in content.pop("datasets")
        ]
        overlong = OverlongStats(**content.pop("overlong"))
        return Metadata(**content, datasets=datasets, splits=splits, overlong=overlong)
    except (OSError, orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        return None
