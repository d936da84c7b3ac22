"""The list of every row that is not in the output.

dropped.jsonl.zst, one line each.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import zstandard

from nemotron.atomic_files import replaced_when_complete
from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.select import OUTCOMES, Selection
from nemotron.data_prep.tokenization.part_files import PartReceipt, read_dropped

DROPPED_ROWS = "dropped.jsonl.zst"


def write_dropped(
    plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus, selection: Selection
) -> None:
    """Write `dropped.jsonl.zst` into the run.

    Each line has dataset, file, line (from 1), reason and detail of a dropped row.
    """
    with (
        replaced_when_complete(plan.run_dir / DROPPED_ROWS) as temporary,
        zstandard.open(temporary, "wb") as file,
    ):
        for row in _dropped_rows(plan, receipts, corpus, selection):
            file.write(orjson.dumps(row) + b"\n")


def _dropped_rows(
    plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus, selection: Selection
) -> Iterator[dict[str, Any]]:
    """Yield the dropped rows in plan order.

    Lines of a part are numbered from the part's start, so those of earlier parts are added.
    """
    left_out = np.flatnonzero(~selection.kept)
    details = {reason: reason.description for reason in OUTCOMES if reason is not None}
    details[LeftOut.OVERLONG] = f"the limit is {plan.limit} tokens, overlong: {plan.config.overlong}"
    part_number = 0
    for planned, part_receipts in zip(plan.datasets, receipts, strict=True):
        lines_before = 0
        for (file, part), receipt in zip(planned.parts(), part_receipts, strict=True):
            lines_before = 0 if part.index == 0 else lines_before
            found = read_dropped(file.output(part))
            first, after = np.searchsorted(corpus.conversation_part[left_out], [part_number, part_number + 1])
            for conversation in left_out[first:after].tolist():
                reason = OUTCOMES[selection.outcome[conversation]]
                assert reason is not None  # it is left out
                found.append({"line": int(corpus.line[conversation]), "reason": str(reason), "detail": details[reason]})
            for row in sorted(found, key=lambda row: row["line"]):
                where = {"dataset": planned.dataset.name, "file": file.file.path}
                yield {**where, **row, "line": int(row["line"]) + lines_before + 1}
            lines_before += receipt.lines
            part_number += 1
