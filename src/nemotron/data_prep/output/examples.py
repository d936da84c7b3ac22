"""Choose the examples of the report: sequences with their mask, and dropped rows.

The choice depends only on the data and the settings. Where several examples would do, it is the first.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import orjson

from nemotron.data_prep.notes import EXAMPLES
from nemotron.data_prep.output.excerpts import Excerpt, Wanted
from nemotron.data_prep.output.places import find_places
from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.overlong import Cut
from nemotron.data_prep.selection.select import OUTCOMES, Selection
from nemotron.data_prep.tokenization.part_files import PartReceipt
from nemotron.files.atomic_files import is_as_written
from nemotron.files.regular_files import read_bytes
from nemotron.files.typed import typed

EXAMPLES_FILE = "examples.json"
CONSIDERED = 64
"""The number of longest conversations to search for EXAMPLES with different content."""
DROPPED_TOKENS, SHOWN_TOKENS = (150, 0), (700, 300)
"""Tokens to show from the beginning and the end of a dropped sequence, and of a kept one."""


class DroppedRow(TypedDict):
    """A row that was dropped before it was tokenized."""

    reason: str
    dataset: str
    file: str
    line: int
    detail: str
    text: str


@dataclass(frozen=True)
class Examples:
    """The contents of examples.json."""

    sequences: list[Excerpt]
    """Sequences, of all kinds."""
    dropped: list[DroppedRow]
    """Rows dropped before they were tokenized."""


def choose_examples(
    plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus, cut: Cut, selection: Selection
) -> list[Wanted]:
    """Choose the sequences to show in the report.

    Kinds are longest, shortest, repeated (`count` times) and dropped (with the reason).
    """
    places = find_places(plan, receipts)
    chosen = [
        *_by_length(corpus, cut, selection),
        *_find_repeated(corpus, selection),
        *_find_left_out(corpus, selection),
    ]
    wanted = []
    for kind, conversation, about in chosen:
        sequence = _longest_sequence(corpus, cut, conversation)
        part = corpus.part_of_conversation(conversation)
        kept = int(cut.length[sequence]) or int(corpus.length[sequence])
        place = places[part.number].of(corpus.line_of(conversation))
        facts = {"tokens": kept, "uncut": int(corpus.length[sequence]), "supervised_tokens": int(cut.targets[sequence])}
        shown = SHOWN_TOKENS if kind in ("longest", "shortest") else DROPPED_TOKENS
        about = {"kind": kind, **place, **facts, **about}
        wanted.append(Wanted(part.path, corpus.place_of(sequence), kept, shown, about))
    return wanted


def read_examples(run_dir: Path) -> Examples:
    """Return the examples of a finished run, or none if their file is gone or damaged."""
    path = run_dir / EXAMPLES_FILE
    try:
        found = typed(Examples, orjson.loads(read_bytes(path)))
    except (OSError, ValueError):
        return Examples([], [])
    return found if is_as_written(path) else Examples([], [])


def dropped_rows_to_show(plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]]) -> list[DroppedRow]:
    """Return the first rows of each reason that were dropped before tokenizing.

    One row of each dataset comes first, then a second row of each, and so on.
    """
    per_reason: dict[str, list[tuple[int, int, DroppedRow]]] = defaultdict(list)
    seen: dict[tuple[str, int], int] = defaultdict(int)
    places = find_places(plan, receipts)
    for place, receipt in zip(places, itertools.chain.from_iterable(receipts), strict=True):
        for example in receipt.examples:
            key = example.reason, place.dataset
            seen[key] += 1
            if seen[key] <= EXAMPLES:
                found = {"reason": example.reason, **place.of(example.line)}
                shown = DroppedRow(**found, detail=example.detail, text=example.text)
                per_reason[example.reason].append((seen[key], place.dataset, shown))
    return [shown for found in per_reason.values() for _, _, shown in sorted(found, key=lambda one: one[:2])[:EXAMPLES]]


def _by_length(corpus: Corpus, cut: Cut, selection: Selection) -> list[tuple[str, int, dict[str, Any]]]:
    """Choose the conversations with the longest and the shortest sequences."""
    firsts = np.flatnonzero(np.diff(corpus.conversation, prepend=-1))
    longest = np.maximum.reduceat(cut.length, firsts)
    used = np.flatnonzero(selection.kept)
    chosen = []
    for kind, length in (("longest", -longest[used]), ("shortest", longest[used])):
        for place in _first_ranked(length, CONSIDERED):
            chosen.append((kind, int(used[place]), {}))
    return list(_different(corpus, chosen))


def _first_ranked(values: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the `count` lowest values, the lowest first.

    Equal values keep their order.
    """
    if len(values) > count:
        highest = np.partition(values, count - 1)[count - 1]
        lower = np.flatnonzero(values < highest)
        places = np.concatenate([lower, np.flatnonzero(values == highest)[: count - len(lower)]])
    else:
        places = np.arange(len(values))
    return places[np.lexsort((places, values[places]))]


def _different(corpus: Corpus, chosen: list[tuple[str, int, dict[str, Any]]]) -> list[tuple[str, int, dict[str, Any]]]:
    """Take EXAMPLES of each kind, all with different content."""
    seen: set[bytes] = set()
    taken: dict[str, list[tuple[str, int, dict[str, Any]]]] = defaultdict(list)
    for one in chosen:
        content = corpus.hash[one[1]].tobytes()
        if len(taken[one[0]]) < EXAMPLES and content not in seen:
            seen.add(content)
            taken[one[0]].append(one)
    return [one for kind in taken.values() for one in kind]


def _find_repeated(corpus: Corpus, selection: Selection) -> list[tuple[str, int, dict[str, Any]]]:
    """Choose the conversations that occur most often in the input."""
    hashes, counts = np.unique(corpus.hash[selection.duplicates, 0], return_counts=True)
    order = np.lexsort((hashes, -counts))[:EXAMPLES]
    firsts = [int(np.argmax(corpus.hash[:, 0] == hash)) for hash in hashes[order]]
    return [("repeated", first, {"count": int(count) + 1}) for first, count in zip(firsts, counts[order], strict=True)]


def _find_left_out(corpus: Corpus, selection: Selection) -> list[tuple[str, int, dict[str, Any]]]:
    """Choose some conversations for each reason to leave them out.

    They are from different datasets if possible.
    """
    chosen, datasets = [], corpus.dataset
    for code, reason in enumerate(OUTCOMES):
        found = np.flatnonzero(selection.outcome == code)
        if reason is None or not len(found):
            continue
        _, firsts = np.unique(datasets[found], return_index=True)
        more = np.delete(found, firsts)[:EXAMPLES].tolist()
        for conversation in [*found[firsts].tolist(), *more][:EXAMPLES]:
            chosen.append(("dropped", conversation, {"reason": str(reason)}))
    return chosen


def _longest_sequence(corpus: Corpus, cut: Cut, conversation: int) -> int:
    """Return the longest sequence of a conversation, after cutting if any is kept."""
    first, after = np.searchsorted(corpus.conversation, [conversation, conversation + 1])
    kept = cut.length[first:after]
    return int(first + np.argmax(kept if kept.any() else corpus.length[first:after]))
