"""The parts of a dry run that every command shows."""

from collections.abc import Sequence
from typing import Any

from nemotron.cli import console


def show_config(loaded: Any, title: str) -> None:
    """Every value of a `Loaded` config with where it was written, secrets masked; empty open sections are left out."""
    console.heading(f"{title}: {loaded.path}")
    console.table(loaded.rows(), header=("key", "value", "from"))


def show_plan(rows: Sequence[tuple[str, str]], title: str) -> None:
    """The (what, value) lines of a plan."""
    console.heading(title)
    console.table(rows)


def end() -> None:
    """The last line of every dry run."""
    console.out("\nThis was a dry run: nothing was written or started.")
