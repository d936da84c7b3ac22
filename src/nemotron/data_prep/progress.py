"""Report the progress of data prep to its caller."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkProgress:
    """The progress of one kind of work; it has ended when `done` equals `total`."""

    name: str
    """What is being done: `tokenize chat`, `pack`."""
    done: int
    total: int
    unit: str
    """What `done` and `total` count."""
    made: Mapping[str, int] = field(default_factory=dict)
    """What this run has made so far, for rates: {"rows": ..., "tokens": ...}."""


OnProgress = Callable[[WorkProgress], None]
"""Called as work progresses."""


def ignore_progress(_: WorkProgress) -> None:
    """Do nothing."""
