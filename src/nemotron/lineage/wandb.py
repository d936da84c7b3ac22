"""Runs and artifacts in Weights & Biases. The only module that imports wandb; imported only when W&B is on."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb

from nemotron.lineage.access import Target
from nemotron.lineage.artifact import MANIFEST, Artifact, read_version, version_file
from nemotron.lineage.origin import mask_arguments

_SECONDS = {"init_timeout": 60.0, "finish_timeout": 300.0}
"""How long the server may keep a run from starting and from ending. The client's own: 90, and for ever."""


class Run:
    """An open W&B run."""

    def __init__(self, run: Any, target: Target) -> None:
        self._run = run
        self._used: set[str] = set()
        self._is_stopped = False
        self.target = target

    @property
    def id(self) -> str:
        """The run's id, which a resumed job continues."""
        return self._run.id

    def use(self, references: Sequence[str], root: Path, digests: Mapping[str, str] | None = None) -> None:
        """Record that the run uses artifacts, and sources that are no artifacts of ours, such as datasets.

        W&B finds an artifact by its content, and ours is the record of a version: the one that is logged where it is
        made and the one that is used here are the same.
        """
        for reference in references:
            if reference not in self._used:
                self._used.add(reference)
                self._send(_input(reference, root, (digests or {}).get(reference, "")), ["latest"], is_used=True)

    def log(self, artifact: Artifact, root: Path, aliases: Sequence[str]) -> None:
        """Record that the run made an artifact."""
        self._send(_described(artifact, root), list(dict.fromkeys(["latest", *aliases])), is_used=False)

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Set what the run's table shows of it."""
        self._run.summary.update(dict(values))

    def curves(self) -> "Curves":
        """Return what a trainer logs curves to, as if it were the wandb module."""
        return Curves(self._run)

    def stop(self) -> None:
        """Note that a signal or a time limit stopped the work: the run will count as preempted, not as finished."""
        self._run.mark_preempting()
        self._is_stopped = True

    def finish(self, code: int = 0) -> None:
        """End the run with the exit code of its work."""
        self._run.finish(exit_code=code or int(self._is_stopped))

    def _send(self, artifact: wandb.Artifact, aliases: list[str], *, is_used: bool) -> None:
        if is_used:
            # What `use_artifact` does with an artifact that is not in W&B yet, but also offline, and without waiting.
            self._run._log_artifact(artifact, aliases=aliases, is_user_created=True, use_after_commit=True)
        else:
            self._run.log_artifact(artifact, aliases=aliases)


class Curves:
    """A run for a trainer that wants the wandb module: it logs, and does not end the run."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        """Log numbers of a step."""
        self.run.log(dict(values), step=step, **options)

    def finish(self, *_: Any, **__: Any) -> None:
        """Leave the run open: artifacts are recorded after training."""

    def __getattr__(self, name: str) -> Any:
        return getattr(wandb, name)


def begin(
    target: Target, number: str, mode: str, *, folder: Path, name: str, job_type: str, config: Mapping[str, Any]
) -> Run:
    """Open the run `number` in a mode, or offline where the server refuses it."""
    options: dict[str, Any] = {
        "project": target.project, "entity": target.entity, "id": number, "name": name, "job_type": job_type,
        "dir": str(folder), "config": dict(config),
    }  # fmt: skip
    limits: dict[str, Any] = {
        key: seconds for key, seconds in _SECONDS.items() if f"WANDB_{key.upper()}" not in os.environ
    }
    # Our own log files have the output; what others print into it is not ours to mask.
    settings = wandb.Settings(console="off", **limits)
    with _masked_command_line():
        if mode == "online":
            try:
                return Run(wandb.init(**options, mode="online", resume="allow", settings=settings), target)
            except (wandb.Error, ValueError) as error:
                print(f"W&B: {error}. This run is recorded offline, for `wandb sync`.", file=sys.stderr)
                wandb.teardown()  # or the id would count as taken
        return Run(wandb.init(**options, mode="offline", settings=settings), target)


@contextmanager
def _masked_command_line() -> Iterator[None]:
    """Hide secrets in `sys.argv` while W&B copies it."""
    before = sys.argv
    sys.argv = [before[0], *mask_arguments(before[1:])] if before else before
    try:
        yield
    finally:
        sys.argv = before


def _input(reference: str, root: Path, digest: str) -> wandb.Artifact:
    """Describe an input: a version recorded in `root`, or a source outside."""
    name, _, label = reference.partition(":v")
    if label.isdigit() and version_file(root, name, int(label)).is_file():
        return _described(read_version(root, name, int(label)), root)
    facts = {"source": reference, **({"digest": digest} if digest else {})}
    source = wandb.Artifact(_outside_name(reference), "source", metadata=facts)
    with source.new_file("source.json") as file:
        file.write(json.dumps(facts))
    return source


def _outside_name(reference: str) -> str:
    """Make a name that W&B takes of a path or URL: its last parts."""
    words = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in reference)
    return words.strip("-.")[-100:].lstrip("-.") or "source"


def _described(artifact: Artifact, root: Path) -> wandb.Artifact:
    made = {"code": artifact.code, "command": artifact.command, "job": artifact.job}
    facts = {"path": artifact.path, "digest": artifact.digest, "inputs": artifact.inputs, **made}
    described = wandb.Artifact(artifact.name, artifact.type, metadata={**artifact.metadata, **facts})
    # Not a copy, which a later sync would look for in this user's home.
    record = version_file(root, artifact.name, artifact.version).absolute()
    described.add_file(str(record), name=MANIFEST, policy="immutable", skip_cache=True)
    return described
