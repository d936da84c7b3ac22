"""Report the findings of a dry run: printed at once, or as JSON at the end."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import typer

from nemotron.cli import console
from nemotron.cli.usage import UsageError
from nemotron.errors import UserError

_SHOWN_VARIABLES = ("WANDB_PROJECT", "WANDB_ENTITY", "NEMOTRON_ARTIFACTS", "HF_HOME", "CUDA_VISIBLE_DEVICES")


def check_options(dry: bool, **asked: bool) -> None:
    """Refuse options that only affect a dry run, if there is none.

    Raises:
        UsageError: One of `asked` is set without --dry-run.
    """
    for name, given in asked.items():
        if given and not dry:
            raise UsageError(f"--{name} changes what --dry-run shows.", f"Write --dry-run --{name}.")


class Report:
    """A dry run's findings.

    A context manager: a UserError inside is one of the problems.

    A report with problems ends in exit code 1.
    """

    def __init__(self, command: str, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._problems: list[UserError] = []
        self._found: dict[str, Any] = {"command": command}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, UsageError) or (error is not None and not isinstance(error, UserError)):
            return False
        if isinstance(error, UserError):
            self.refuse(error)
        self._end()
        return True

    def config(self, loaded: Any, title: str) -> None:
        """Add every value of a `Loaded` config and where it was written, secrets masked."""
        if self._as_json:
            values = {key: {"value": _value(text), "from": origin} for key, text, origin in loaded.rows()}
            self._found[_key(title)] = {"path": str(loaded.path), "values": values}
            return
        console.heading(f"{title}: {loaded.path}")
        console.table(loaded.rows(), header=("key", "value", "from"))

    def rows(
        self,
        title: str,
        rows: Sequence[Sequence[str]],
        data: Mapping[str, Any] | None = None,
        header: Sequence[str] | None = None,
    ) -> None:
        """Add a section of (what, value) lines; `data` is the same for programs."""
        if self._as_json:
            self._found[_key(title)] = dict(data) if data is not None else _group(rows)
            return
        console.heading(title)
        console.table(rows, header=header)

    def stage(self, name: str, rows: Sequence[tuple[str, str]], scripts: Mapping[str, str]) -> None:
        """Add a stage as it would be launched, and its scripts by title."""
        if self._as_json:
            stage = {"name": name, **_group(rows), **{_key(title): text for title, text in scripts.items()}}
            self._found.setdefault("stages", []).append(stage)
            return
        console.heading(f"Stage {name}")
        console.table(rows)
        for title, text in scripts.items():
            console.heading(title)
            console.raw(text.rstrip())

    def refuse(self, problem: UserError) -> None:
        """Add a problem, which is shown at the end; the exit code is then 1."""
        self._problems.append(problem)

    def _end(self) -> None:
        if self._as_json:
            problems = [{"message": problem.message, "hint": problem.hint} for problem in self._problems]
            console.raw(json.dumps(self._found | {"problems": problems}, indent=2, default=str, ensure_ascii=False))
        elif not self._problems:
            console.out("\nThis was a dry run: nothing was written or started.")
        else:
            for problem in self._problems:
                console.error(problem)
        if self._problems:
            raise typer.Exit(1)


def local_variables() -> list[tuple[str, str]]:
    """List the environment variables that a command uses, with secrets as `***`."""
    from nemotron.launch.secrets import HANDED_ON

    shown = [(name, os.environ[name]) for name in _SHOWN_VARIABLES if name in os.environ]
    return [
        *(("environment", f"{name}={value}") for name, value in shown),
        *(("environment", f"{name}=***") for name in HANDED_ON if name in os.environ),
    ]


def _value(text: str) -> Any:
    """Read a value as after `key=`; anything that cannot be parsed is text."""
    from nemotron.config.errors import ConfigError
    from nemotron.config.located import plain
    from nemotron.config.yaml_file import parse_value

    try:
        return plain(parse_value(text, ""))
    except ConfigError:
        return text


def _key(title: str) -> str:
    """Convert a title to a key: `Training plan` becomes `training_plan`."""
    return re.sub(r"\W+", "_", title.lower()).strip("_")


def _group(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Group lines by label; a repeated label has a list."""
    grouped: dict[str, list[Any]] = {}
    for label, *values in rows:
        grouped.setdefault(_key(label), []).append(values[0] if len(values) == 1 else values)
    return {label: values[0] if len(values) == 1 else values for label, values in grouped.items()}
