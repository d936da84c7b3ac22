"""How far data prep is, as its caller sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkProgress:
    """How far a kind of work is; it ends when `done` and `total` are equal."""

    name: str
    """What is being done: `tokenize chat`, `pack`."""
    done: int
    total: int
    unit: str
    """What `done` and `total` count."""
    made: Mapping[str, int] = field(default_factory=dict)
    """What this run has made of it so far, for rates: {"rows": ..., "tokens": ...}."""


OnProgress = Callable[[WorkProgress], None]
"""Called as work is done."""


def ignore_progress(_: WorkProgress) -> None:
    """Show nothing."""
