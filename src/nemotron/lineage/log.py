"""Recording a new artifact."""

import dataclasses
import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nemotron.atomic_files import write_text
from nemotron.lineage.artifact import (
    MANIFEST,
    Artifact,
    ArtifactError,
    alias_file,
    read,
    version_file,
    versions,
    write,
)
from nemotron.paths import expand_home

_log = logging.getLogger(__name__)


def check_root(root: Path | str) -> None:
    """Refuse a root folder that a file blocks, before any work is done that it would record.

    Raises:
        ArtifactError: a file is in its place or above it, or it is not writable.
        UserError: `~name` of a user that does not exist.
    """
    root = expand_home(root)
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ArtifactError(f"Cannot write {there}: Not a directory.", "Set run.artifacts to a folder.")


def log_artifact(
    *,
    name: str,
    type: str,
    path: Path | str,
    root: Path | str,
    metadata: Mapping[str, Any] | None = None,
    inputs: Sequence[Artifact | str] = (),
    aliases: Sequence[str] = (),
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
) -> Artifact:
    """Record the folder `path` as the next version of `name`, and as its `latest`.

    Writes `<root>/<name>/v<N>.json`, the aliases, and a manifest `artifact.json` in the folder itself. Recording
    exactly the same again gives the version that exists and only moves the aliases. Safe against other writers.
    With a W&B project (given, or `$WANDB_PROJECT`) the same is recorded there; if that fails, a warning says so and
    the files stand. Raises ArtifactError for a name or alias that cannot be part of a reference.
    """
    for word in (name, *aliases):
        _check(word)
    root, folder = expand_home(root), Path(path).resolve()
    artifact = Artifact(
        name=name,
        type=type,
        version=0,
        path=str(folder),
        metadata=dict(metadata or {}),
        inputs=[source if isinstance(source, str) else source.reference for source in inputs],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    artifact = _same(artifact, root) or _next_version(artifact, root)
    write(artifact, folder / MANIFEST)
    for alias in dict.fromkeys(["latest", *aliases]):
        write_text(alias_file(root, name, alias), f"v{artifact.version}\n")
    project = wandb_project or os.environ.get("WANDB_PROJECT")
    if project:
        _record_in_wandb(artifact, root, aliases, project, wandb_entity)
    return artifact


def _check(word: str) -> None:
    if not re.fullmatch(r"[\w.-]+", word) or re.fullmatch(r"v\d+", word):
        raise ArtifactError(
            f'"{word}" cannot name an artifact or an alias.',
            "Use letters, digits, dots, dashes and underscores, and not a version such as v3.",
        )


def _same(artifact: Artifact, root: Path) -> Artifact | None:
    """Find the newest recorded version that differs from `artifact` in version and time only."""
    for version in reversed(versions(root, artifact.name)):
        known = read(version_file(root, artifact.name, version))
        if dataclasses.replace(artifact, version=known.version, created=known.created) == known:
            return known
    return None


def _next_version(artifact: Artifact, root: Path) -> Artifact:
    """Claim the next free number by creating its file exclusively (which also holds on NFS), then fill it."""
    version = max(versions(root, artifact.name), default=0)
    while True:
        version += 1
        target = version_file(root, artifact.name, version)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.touch(exist_ok=False)
        except FileExistsError:
            continue
        numbered = dataclasses.replace(artifact, version=version)
        write(numbered, target)
        return numbered


def _record_in_wandb(artifact: Artifact, root: Path, aliases: Sequence[str], project: str, entity: str | None) -> None:
    from nemotron.lineage import wandb

    try:
        wandb.record(artifact, root=root, aliases=aliases, project=project, entity=entity)
    except Exception as error:  # any failure of an outside service; the files are what counts
        _log.warning("%s is recorded in %s, but not in W&B: %s", artifact.reference, root, error)
