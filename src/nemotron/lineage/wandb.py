"""Record runs and artifacts in Weights & Biases.

This is the only module that imports wandb, and it is imported only if W&B is on.
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

from nemotron.files.atomic_files import write_text
from nemotron.lineage.access import Target
from nemotron.lineage.artifact import MANIFEST, Artifact, read, read_version, version_file
from nemotron.lineage.origin import mask_arguments

_SECONDS = {"init_timeout": 60.0, "finish_timeout": 300.0}
"""How long the server may delay the start and end of a run. The client's defaults are 90 s and no limit."""


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

    def keep(self, state: Path, **more: Any) -> None:
        """Write to a JSON file which run this is: project, entity and id."""
        known = {"project": self.target.project, "entity": self.target.entity, "id": self.id, **more}
        write_text(state, json.dumps(known) + "\n")

    def use(self, references: Sequence[str], root: Path, digests: Mapping[str, str] | None = None) -> None:
        """Record that the run uses artifacts, and other sources such as datasets.

        W&B identifies an artifact by its content. Ours contains the record of a version, so the artifact that is logged
        where it is made and the one used here are the same.
        """
        for reference in references:
            if reference not in self._used:
                self._used.add(reference)
                self._use(_describe_input(reference, root, (digests or {}).get(reference, "")))

    def log(self, artifact: Artifact, root: Path, aliases: Sequence[str]) -> None:
        """Record that the run made an artifact."""
        also = ["latest", _version_alias(artifact.version), *aliases]
        self._run.log_artifact(_describe(artifact, root), aliases=list(dict.fromkeys(also)))

    def summarize(self, values: Mapping[str, Any], *, stopped: bool = False) -> None:
        """Set the summary of the run.

        A stopped run counts as preempted, not as finished.
        """
        self._run.summary.update(dict(values))
        if stopped:
            self._run.mark_preempting()
            self._is_stopped = True

    def curves(self) -> "Curves":
        """Return an object that a trainer logs to as if it were the wandb module."""
        return Curves(self._run)

    def where(self) -> str:
        """Return the page of the run, or the folder to sync."""
        return (
            f"recorded in {Path(self._run.dir).parent}; wandb sync uploads it" if self._run.offline else self._run.url
        )

    def finish(self, code: int = 0) -> None:
        """End the run with the exit code of its work."""
        self._run.finish(exit_code=code or int(self._is_stopped))

    def _use(self, artifact: wandb.Artifact) -> None:
        """Use an artifact as `use_artifact` does, but also offline and without waiting.

        The artifact may not be in W&B yet. The client's public functions refuse to do this offline, wait for the
        server, and mark the artifact as the latest.
        """
        artifact.finalize()
        self._run._interface.publish_artifact(
            self._run, artifact, [], None, is_user_created=True, use_after_commit=True
        )


class Curves:
    """Stands in for the wandb module in a trainer: it logs, but does not end the run."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        """Log the metrics of a step."""
        self.run.log(dict(values), step=step, **options)

    def finish(self, *_: Any, **__: Any) -> None:
        """Do nothing, because artifacts are recorded after training."""

    def __getattr__(self, name: str) -> Any:
        return getattr(wandb, name)


def begin(
    target: Target, number: str, mode: str, *, folder: Path, name: str, job_type: str, config: Mapping[str, Any]
) -> Run:
    """Open the run `number` in a mode, or offline if the server refuses it."""
    options: dict[str, Any] = {
        "project": target.project, "entity": target.entity, "id": number, "name": name, "job_type": job_type,
        "dir": str(folder), "config": dict(config),
    }  # fmt: skip
    limits: dict[str, Any] = {
        key: seconds for key, seconds in _SECONDS.items() if f"WANDB_{key.upper()}" not in os.environ
    }
    # Our log files have the output already, and output of other libraries could contain secrets.
    settings = wandb.Settings(console="off", silent=True, **limits)
    with _mask_command_line():
        if mode == "online":
            try:
                return Run(wandb.init(**options, mode="online", resume="allow", settings=settings), target)
            except (wandb.Error, ValueError) as error:
                print(f"W&B: {error}. This run is recorded offline, for `wandb sync`.", file=sys.stderr)
                wandb.teardown()  # otherwise the id would count as taken
        return Run(wandb.init(**options, mode="offline", settings=settings), target)


def fetch(name: str, label: str, target: Target) -> Artifact:
    """Read the record of an artifact that was logged in a W&B project.

    Args:
        name: Name of the artifact.
        label: An alias, or a version such as `v3`, by our number, else by W&B's.
        target: The project.

    Raises:
        Exception: The client raises various types if there is no such artifact or the server cannot be reached.
    """
    api = wandb.Api(timeout=15)
    project = "/".join(filter(None, [target.entity or api.default_entity, target.project]))
    number = label.removeprefix("v")
    labels = [_version_alias(int(number)), label] if label.startswith("v") and number.isdecimal() else [label]
    found = _first(api, [f"{project}/{name}:{each}" for each in labels])
    with TemporaryDirectory() as folder:
        return read(Path(found.get_entry(MANIFEST).download(root=folder)))


def _first(api: Any, references: list[str]) -> Any:
    for reference in references[:-1]:
        with suppress(wandb.Error, ValueError):
            return api.artifact(reference)
    return api.artifact(references[-1])


def _version_alias(version: int) -> str:
    """Return the alias for our version number; W&B counts versions itself, from v0."""
    return f"record-v{version}"


@contextmanager
def _mask_command_line() -> Iterator[None]:
    """Hide secrets in `sys.argv` while W&B copies it."""
    before = sys.argv
    sys.argv = [before[0], *mask_arguments(before[1:])] if before else before
    try:
        yield
    finally:
        sys.argv = before


def _describe_input(reference: str, root: Path, digest: str) -> wandb.Artifact:
    """Describe an input: a version recorded in `root`, or a source outside."""
    name, _, label = reference.partition(":v")
    if label.isdecimal() and version_file(root, name, int(label)).is_file():
        return _describe(read_version(root, name, int(label)), root)
    facts = {"source": reference, **({"digest": digest} if digest else {})}
    source = wandb.Artifact(_outside_name(reference), "source", metadata=facts)
    text = json.dumps(facts, sort_keys=True)
    kept = root / "wandb" / "sources" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    write_text(kept, text)
    _add(source, kept, "source.json")
    return source


def _outside_name(reference: str) -> str:
    """Return a name that W&B accepts for a path or URL: its last parts."""
    words = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in reference)
    return words.strip("-.")[-100:].lstrip("-.") or "source"


def _describe(artifact: Artifact, root: Path) -> wandb.Artifact:
    made = {"code": artifact.code, "command": artifact.command, "job": artifact.job}
    facts = {"path": artifact.path, "digest": artifact.digest, "inputs": artifact.inputs, **made}
    described = wandb.Artifact(artifact.name, artifact.type, metadata={**artifact.metadata, **facts})
    _add(described, version_file(root, artifact.name, artifact.version), MANIFEST)
    return described


def _add(artifact: wandb.Artifact, file: Path, name: str) -> None:
    """Add a file in place; a later sync would look for a copy in this user's home."""
    artifact.add_file(str(file.absolute()), name=name, policy="immutable", skip_cache=True)
