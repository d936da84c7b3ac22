"""Write dropped.jsonl.zst, with a line for each row that is not in the output."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
import zstandard

from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.output.places import find_places
from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.select import OUTCOMES, Selection
from nemotron.data_prep.tokenization.part_files import PartReceipt, read_dropped
from nemotron.files.atomic_files import replace_when_complete

DROPPED_ROWS = "dropped.jsonl.zst"


def write_dropped(
    plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus, selection: Selection
) -> None:
    """Write `dropped.jsonl.zst` into the run.

    Each line has dataset, file, line (from 1), reason and detail of a dropped row.
    """
    with (
        replace_when_complete(plan.run_dir / DROPPED_ROWS) as temporary,
        zstandard.open(temporary, "wb") as file,
    ):
        for row in _dropped_rows(plan, receipts, corpus, selection):
            file.write(orjson.dumps(row) + b"\n")


def _dropped_rows(
    plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus, selection: Selection
) -> Iterator[dict[str, Any]]:
    """Yield the dropped rows in plan order.

    Parts number their lines from their own start, so the lines of earlier parts are added.
    """
    details = {reason: reason.description for reason in OUTCOMES if reason is not None}
    details[LeftOut.OVERLONG] = f"the limit is {plan.limit} tokens, overlong: {plan.config.overlong}"
    for number, (place, receipt) in enumerate(zip(find_places(plan, receipts), chain(*receipts), strict=True)):
        found = read_dropped(corpus.parts[number], receipt)
        part = corpus.part(number)
        outcomes = selection.outcome[part.conversations]
        if (left_out := np.flatnonzero(outcomes)).size:
            lines = corpus.read_index(part).lines[left_out]
            for line, code in zip(lines.tolist(), outcomes[left_out].tolist(), strict=True):
                reason = OUTCOMES[code]
                assert reason is not None  # it is left out
                found.append({"line": line, "reason": str(reason), "detail": details[reason]})
        for row in sorted(found, key=lambda row: row["line"]):
            yield {**place.of(int(row["line"])), "reason": row["reason"], "detail": row["detail"]}
