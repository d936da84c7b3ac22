"""Choose which rows or packs to show."""

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nemotron.data_prep.drop_reasons import DropReason, LeftOut
from nemotron.data_prep.sources import Row
from nemotron.errors import UserError, did_you_mean

OUTCOMES = ("kept", "dropped")
ID_FIELDS = ("id", "uuid", "conversation_id")
"""Fields that may contain a row's id."""


@dataclass(frozen=True)
class Wanted:
    """What to show; without settings, everything."""

    line: int | None = None
    """Only the row of this line, from 1."""
    id: str | None = None
    """Only rows with this id."""
    only: str | None = None
    """Only rows that are kept, dropped, or dropped for this reason."""
    grep: str | None = None
    """Only rows and sequences that contain this text."""
    limit: int | None = None
    """At most this many, from the start."""
    sample: int | None = None
    """This many at random, in their original order."""
    seed: int = 42
    """Seed of the random choice."""

    def __post_init__(self) -> None:
        reasons = [str(reason) for reason in (*DropReason, *LeftOut)]
        if self.only is not None and self.only not in (*OUTCOMES, *reasons):
            raise UserError(
                f'--only is "{self.only}", which is neither an outcome nor a reason to drop a row.',
                did_you_mean(self.only, [*OUTCOMES, *reasons]) or f"Outcomes: kept, dropped. Reasons: {reasons}.",
            )
        for name in ("line", "limit", "sample"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"--{name} is {value}.", "It counts from 1.")

    def wants_row(self, line: int, row: Row) -> bool:
        """Tell whether to inspect a row."""
        if self.line is not None and line != self.line:
            return False
        if self.id is not None and self.id not in _ids(row.value):
            return False
        return self.grep is None or self.grep in _text(row)

    def wants_sequence(self, sequence: dict[str, Any]) -> bool:
        """Tell whether to show a sequence of a pack, by its row and its text."""
        if self.line is not None and sequence["line"] != self.line:
            return False
        return self.grep is None or any(self.grep in chunk["text"] for chunk in sequence["chunks"])

    def choose(self, shown: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the rows or packs with the wanted outcome: the first ones, or a sample."""
        if self.only is not None:
            shown = (row for row in shown if self.only in (row["outcome"], row["reason"]))
        if self.sample is not None:
            shown = self._by_chance(shown)
        return itertools.islice(shown, self.limit)

    def _by_chance(self, shown: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Keep a sample of a stream of unknown length, in its order.

        This is algorithm R of Vitter (1985).
        """
        chance, kept = random.Random(self.seed), list[tuple[int, dict[str, Any]]]()
        for number, row in enumerate(shown):
            if len(kept) < (self.sample or 0):
                kept.append((number, row))
            elif (place := chance.randrange(number + 1)) < len(kept):
                kept[place] = number, row
        return (row for _, row in sorted(kept, key=lambda entry: entry[0]))


ALL = Wanted()
"""Everything."""


def _ids(value: Any) -> set[str]:
    return {str(value[name]) for name in ID_FIELDS if name in value} if isinstance(value, dict) else set()


def _text(row: Row) -> str:
    """Return a row's text as one string, with unescaped newlines and quotes."""
    if row.error is not None:
        return row.error
    texts: list[str] = []
    todo = [row.value]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            todo += value
        else:
            texts.append(json.dumps(value, default=str))
    return "\0".join(texts)
