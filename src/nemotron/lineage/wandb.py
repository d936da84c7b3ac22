"""Runs and artifacts in Weights & Biases.

The only module that imports wandb; imported only when W&B is on.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import wandb

from nemotron.atomic_files import write_text
from nemotron.lineage.access import Target
from nemotron.lineage.artifact import MANIFEST, Artifact, read, read_version, version_file
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
        """Record that the run uses artifacts, and sources that are none of ours.

        Such as datasets.

        W&B finds an artifact by its content, and ours is the record of a version: the one that is logged where it is
        made and the one that is used here are the same.
        """
        for reference in references:
            if reference not in self._used:
                self._used.add(reference)
                self._use(_input(reference, root, (digests or {}).get(reference, "")))

    def log(self, artifact: Artifact, root: Path, aliases: Sequence[str]) -> None:
        """Record that the run made an artifact."""
        also = ["latest", _version_alias(artifact.version), *aliases]
        self._run.log_artifact(_described(artifact, root), aliases=list(dict.fromkeys(also)))

    def summarize(self, values: Mapping[str, Any], *, stopped: bool = False) -> None:
        """Set the run's last numbers.

        One that was stopped counts as preempted, not as finished.
        """
        self._run.summary.update(dict(values))
        if stopped:
            self._run.mark_preempting()
            self._is_stopped = True

    def curves(self) -> "Curves":
        """Return what a trainer logs curves to, as if it were the wandb module."""
        return Curves(self._run)

    def where(self) -> str:
        """Name the page of the run, or the folder to sync."""
        return (
            f"recorded in {Path(self._run.dir).parent}; wandb sync uploads it" if self._run.offline else self._run.url
        )

    def finish(self, code: int = 0) -> None:
        """End the run with the exit code of its work."""
        self._run.finish(exit_code=code or int(self._is_stopped))

    def _use(self, artifact: wandb.Artifact) -> None:
        """Use an artifact as `use_artifact` does, also offline, and at once.

        It may not be in W&B yet.

        The client's public functions refuse that offline, wait for the server, and call what is used the latest.
        """
        artifact.finalize()
        self._run._interface.publish_artifact(
            self._run, artifact, [], None, is_user_created=True, use_after_commit=True
        )


class Curves:
    """A run for a trainer that wants the wandb module.

    It logs, and does not end the run.
    """

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
    settings = wandb.Settings(console="off", silent=True, **limits)
    with _masked_command_line():
        if mode == "online":
            try:
                return Run(wandb.init(**options, mode="online", resume="allow", settings=settings), target)
            except (wandb.Error, ValueError) as error:
                print(f"W&B: {error}. This run is recorded offline, for `wandb sync`.", file=sys.stderr)
                wandb.teardown()  # or the id would count as taken
        return Run(wandb.init(**options, mode="offline", settings=settings), target)


def fetch(name: str, label: str, target: Target) -> Artifact:
    """Read the record of an artifact that was logged in a W&B project.

    Args:
        name: of the artifact.
        label: an alias, or a version such as `v3`: as it was recorded, else as W&B counts.
        target: the project.

    Raises:
        Exception: whatever the client raises when there is none, or it cannot be reached.
    """
    api = wandb.Api(timeout=15)
    project = "/".join(filter(None, [target.entity or api.default_entity, target.project]))
    number = label.removeprefix("v")
    labels = [_version_alias(int(number)), label] if label.startswith("v") and number.isdigit() else [label]
    found = _first(api, [f"{project}/{name}:{each}" for each in labels])
    with TemporaryDirectory() as folder:
        return read(Path(found.get_entry(MANIFEST).download(root=folder)))


def _first(api: Any, references: list[str]) -> Any:
    for reference in references[:-1]:
        with suppress(wandb.Error, ValueError):
            return api.artifact(reference)
    return api.artifact(references[-1])


def _version_alias(version: int) -> str:
    """Name a version as it was recorded: W&B counts versions itself, from v0 on."""
    return f"record-v{version}"


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
    text = json.dumps(facts, sort_keys=True)
    kept = root / "wandb" / "sources" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    write_text(kept, text)
    _add(source, kept, "source.json")
    return source


def _outside_name(reference: str) -> str:
    """Make a name that W&B takes of a path or URL: its last parts."""
    words = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in reference)
    return words.strip("-.")[-100:].lstrip("-.") or "source"


def _described(artifact: Artifact, root: Path) -> wandb.Artifact:
    made = {"code": artifact.code, "command": artifact.command, "job": artifact.job}
    facts = {"path": artifact.path, "digest": artifact.digest, "inputs": artifact.inputs, **made}
    described = wandb.Artifact(artifact.name, artifact.type, metadata={**artifact.metadata, **facts})
    _add(described, version_file(root, artifact.name, artifact.version), MANIFEST)
    return described


def _add(artifact: wandb.Artifact, file: Path, name: str) -> None:
    """Add a file where it is: a later sync would look for a copy in this user's home."""
    artifact.add_file(str(file.absolute()), name=name, policy="immutable", skip_cache=True)
