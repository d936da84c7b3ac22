"""What came out, counted: the contents of metadata.json.

Counting.py does the counting.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from nemotron.data_prep.output.counting_roles import RoleStats
from nemotron.data_prep.output.distributions import Distribution
from nemotron.data_prep.packing.shards import ShardReceipt
from nemotron.data_prep.run_hash import FORMAT_VERSION
from nemotron.secrets import mask_values


@dataclass(frozen=True)
class NoteStats:
    """Something noticed in rows that does not drop them (see notes.py)."""

    kind: str
    """What kind of thing: [outcomes.md](outcomes.md#noticed)."""
    name: str
    """Which one: the token, the field; empty where the kind says all."""
    rows: int
    """Rows in which it was noticed."""
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
    """The check, as the blend names it."""
    found: str
    """What it found: a language, a use of tools, a length."""
    conversations: int
    """Conversations of which that holds."""
    share: float
    """Of all that the check looked at."""


@dataclass(frozen=True)
class ModeStats:
    """What a dataset has in one reasoning mode, as often as it is used."""

    mode: str
    """The reasoning mode."""
    conversations: int
    """Conversations that train in it."""
    sequences: int
    """Their sequences."""
    supervised_tokens: int
    """Their supervised tokens."""
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
    """The dataset's name in the blend."""
    goes_to: str | None
    """The split that the blend lists it for, if it lists splits."""
    weight: float | None
    """Its weight in the blend."""
    files: int
    """Input files."""
    bytes: int
    """Their size."""
    rows: int
    """Rows read."""
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
    """Sequences in the output."""
    tokens: int
    """Their tokens, without padding."""
    supervised_tokens: int
    """Tokens the trainer learns to predict."""
    roles: dict[str, RoleStats]
    """The same tokens by who says them (token_roles/role.py)."""
    asked: float | None
    """The share of the conversations of its split that the blend's weights ask for; None without weights."""
    got: float | None
    """The share it is, as often as they are used; None where the split has none."""
    conversation_share: float
    """Share of all conversations in the output, as often as they are used."""
    share_of_supervised: float
    """Share of all supervised tokens of the output, likewise: how much of the per-token loss comes from it."""
    fill: float | None
    """How full the packs are in which its tokens lie, on average; null without a token in the output."""
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
    """`train`, `valid` or `test`."""
    path: str
    """Relative to the folder of metadata.json."""
    conversations: int
    """Conversations, as often as they are used."""
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
    """What the limit on the length of a conversation cost."""

    policy: str
    """The setting `overlong`."""
    limit: int
    """Tokens that a sequence may have."""
    truncated: int
    """Kept conversations of which a part did not fit."""
    dropped: int
    """Conversations dropped for their length."""
    lost_supervised_share: float
    """Of the supervised tokens of all conversations that were not left out for another reason."""
    pack_size_for_99_percent: int
    """The smallest pack size under which `split_turns` keeps 99 % of them."""


@dataclass(frozen=True)
class Metadata:
    """Everything counted in one run, and the settings a trainer needs."""

    run_hash: str
    """Names everything that decides the output."""
    config_name: str
    """The setting `config_name`."""
    pack_size: int
    """Tokens per pack."""
    pad_to_multiple: int
    """Each sequence is padded to a multiple of this."""
    algorithm: str
    """The packing algorithm."""
    seed: int
    """Of packing and of weighted blends."""
    special_tokens_in_content: str
    """The setting of that name."""
    tokenizer: dict[str, Any]
    """Model, revision, digest, vocabulary size and eos id."""
    chat_template: dict[str, str]
    """Name and digest."""
    blend: str
    """The blend file, or the data itself."""
    datasets: list[DatasetStats]
    """What became of each dataset."""
    splits: list[SplitStats]
    """What was written, split by split."""
    overlong: OverlongStats
    """What the limit on length cost."""
    distributions: dict[str, Distribution]
    """Lengths and fill, in bins (distributions.py)."""
    low_effort: dict[str, float]
    """The share of low-effort conversations in the mix, `asked` (0: not asked for) and `got`."""
    format_version: int = field(default=FORMAT_VERSION)
    """Of the written files. The changelog lists the versions."""

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
        """Of the sequences in the output: shortest, quantiles, longest; in tokens."""
        return self.distributions["sequence_tokens"].quantiles

    @property
    def conversations(self) -> int:
        return sum(dataset.kept + dataset.repeated for dataset in self.datasets)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with the totals, secrets masked."""
        totals = {name: getattr(self, name) for name in ("conversations", "tokens", "padding", "supervised_tokens")}
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
                    "roles": {role: RoleStats(**stats) for role, stats in dataset["roles"].items()},
                }
            )
            for dataset in content.pop("datasets")
        ]
        overlong = OverlongStats(**content.pop("overlong"))
        distributions = {name: Distribution(**found) for name, found in content.pop("distributions").items()}
        return Metadata(**content, datasets=datasets, splits=splits, overlong=overlong, distributions=distributions)
    except (OSError, orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        return None
