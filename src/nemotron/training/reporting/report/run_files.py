"""A run's folder, as a report reads it: records, history, settings."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from nemotron.config import ConfigError
from nemotron.config.located import attach_origin, leaves, plain
from nemotron.config.yaml_file import read_yaml
from nemotron.files.folder_lock import find_holder
from nemotron.secrets import mask_tree
from nemotron.training.checkpoints.run_record import RUN_RECORD, read_json
from nemotron.training.reporting.report.curves import Curves
from nemotron.training.reporting.report.history import HISTORY, State, read_history

MARKS_OF_A_RUN = (RUN_RECORD, "metrics.jsonl", HISTORY)
"""Files that a folder of a run has at least one of."""


class RunFiles:
    """The contents of a run's files, as of the last `update`.

    Attributes:
        folder: The folder of run.output_dir.
        metrics, validation, test: the records.
        history: The events, oldest first (history.py).
        settings: Dotted key -> value, secrets masked.
        checkpoints: Iterations of the checkpoints that are on disk, ascending.
    """

    def __init__(self, folder: Path, *, is_live: bool = False) -> None:
        """Read a folder.

        Args:
            folder: The folder of run.output_dir.
            is_live: Whether this process trains in it.
        """
        self.folder = folder.absolute()
        self._is_live = is_live
        self.metrics, self.validation, self.test = (
            Curves(self.folder / f"{name}.jsonl") for name in ("metrics", "validation", "test")
        )
        self.update()

    def update(self) -> None:
        """Read what is new."""
        for curves in (self.metrics, self.validation, self.test):
            curves.update()
        self.history = read_history(self.folder)
        config = mask_tree(_read_config(self.folder / "config.yaml"))
        self.settings: dict[str, Any] = {
            key: plain(node) for key, node in leaves(attach_origin(config, "")).items() if node.value != {}
        }
        saved = Path(read_json(self.folder / RUN_RECORD).get("checkpoints") or self.folder / "checkpoints")
        numbers = (folder.name.removeprefix("iter_") for folder in saved.glob("iter_*"))
        self.checkpoints = sorted(int(number) for number in numbers if number.isdecimal())

    @property
    def starts(self) -> list[dict[str, Any]]:
        """The events of its starts, oldest first."""
        return [event for event in self.history if event["event"] == "start"]

    @property
    def start(self) -> dict[str, Any]:
        """The event of its last start; empty for a run of an earlier release."""
        return self.starts[-1] if self.starts else {}

    @property
    def state(self) -> State | Literal["running", "killed", "unknown"]:
        """The state of the run: unknown for a run of an earlier release."""
        last = self.history[-1] if self.history else {}
        if last.get("event") == "end":
            return last.get("state", "unknown")
        if self._is_live or find_holder(self.folder) is not None:
            return "running"
        return "killed" if last else "unknown"

    @property
    def finished(self) -> int:
        """Iterations that are recorded."""
        return int(self.metrics.last.get("iteration", 0))

    @property
    def train_iters(self) -> int | None:
        """Iterations of the whole run."""
        return self.start.get("train_iters")

    @property
    def sample(self) -> str:
        """What its average over samples counts: `sequence` or `conversation`."""
        return self.metrics.last.get("sample_unit", "sequence")

    def count_seconds(self) -> float | None:
        """Add up the time from each start to its end; None if that is not recorded.

        A start without an end counts up to the last record.
        """
        if not self.history:
            return None
        total = 0.0
        for event, after in pairwise([*self.history, None]):
            if event is not None and event["event"] == "start":
                until = after["time"] if after and after["event"] == "end" else None
                if until is None and after is None:
                    until = self._last_written()
                if until is not None:
                    total += max(0.0, _seconds(until) - _seconds(event["time"]))
        return total

    def _last_written(self) -> str | None:
        if self.state == "running":
            return datetime.now(UTC).isoformat()
        path = self.folder / "metrics.jsonl"
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat() if path.is_file() else None


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _read_config(file: Path) -> dict[str, Any]:
    """Read the config of a run; {} if it is missing or damaged."""
    try:
        return plain(read_yaml(file, file.name))
    except ConfigError:
        return {}
