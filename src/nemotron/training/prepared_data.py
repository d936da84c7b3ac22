"""What data prep left for the trainer: the split folders, counted, with the settings they were made with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import UserError

MAKE_DATA = "Make it with: nemotron super3 data prep sft -c {config}"


@dataclass(frozen=True)
class PreparedData:
    """Packed splits on disk."""

    splits: Path
    """The folder that holds train/, valid/ and test/."""
    packs: dict[str, int]
    """Rows (packs) of each split that has any."""
    metadata: dict[str, Any]
    """What data prep recorded: pack_size, tokenizer, tokens, ..."""
    reference: str
    """The artifact, as `name:version`, or the folder."""

    def folder(self, split: str) -> Path | None:
        """The folder of a split, or None when it has no packs."""
        return self.splits / split if self.packs.get(split) else None


def find_prepared_data(reference: str, artifacts: Path, *, config_name: str) -> PreparedData:
    """Resolve `run.data` and count its packs from the Parquet footers.

    Args:
        reference: artifact reference (`name`, `name:alias`, `name:v3`), or a folder that data prep wrote.
        artifacts: folder of the artifact records.
        config_name: the config in use, for the command that an error suggests.

    Raises:
        UserError: no such artifact or folder, no Parquet below it, or a train split without packs.
    """
    from nemotron import lineage

    hint = MAKE_DATA.format(config=config_name)
    artifact = lineage.resolve(reference, artifacts, hint=hint)
    splits = Path(artifact.path)
    packs = {split: _count_rows(splits / split) for split in ("train", "valid", "test")}
    if not packs["train"]:
        raise UserError(f"The data of {reference!r} has no training packs: {splits / 'train'} is empty.", hint)
    return PreparedData(
        splits=splits,
        packs={split: count for split, count in packs.items() if count},
        metadata=dict(artifact.metadata),
        reference=artifact.reference,
    )


def _count_rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    rows = 0
    for path in sorted(folder.glob("*.parquet")):
        try:
            rows += pq.read_metadata(path).num_rows
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is not readable as Parquet: {error}", "Prepare the data again with --force."
            ) from None
    return rows
