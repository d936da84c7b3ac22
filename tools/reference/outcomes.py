"""What becomes of rows: why one is dropped, what is noticed without dropping it."""

from collections.abc import Iterable

from tools.reference.tables import code, sentence, table

from nemotron.data_prep.drop_reasons import Described, DropReason, LeftOut
from nemotron.data_prep.notes import NoteKind


def outcomes_page() -> str:
    """Return the page of drop reasons and notes."""

    def listed(kinds: Iterable[Described]) -> str:
        return table(("Name", "Meaning"), ((code(kind.value), sentence(kind.description)) for kind in kinds))

    return "\n\n".join(
        [
            "# What becomes of rows",
            "Every row is kept, or dropped for one of these reasons. `metadata.json` and the report count them by "
            "dataset;\n`dropped.jsonl.zst` has the file and line of each ([outputs.md](outputs.md)).",
            f"## Dropped: the row\n\n{listed(DropReason)}",
            f"## Dropped: the config, or other rows\n\n{listed(LeftOut)}",
            "## Noticed\n\nThese drop no row. They are counted, with the first places, in the summary, in `notes` of "
            f"`metadata.json` and in the report.\n\n{listed(NoteKind)}",
        ]
    )
