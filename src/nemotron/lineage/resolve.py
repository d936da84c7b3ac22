"""Find the artifact that a reference in a config means."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from nemotron.errors import did_you_mean
from nemotron.lineage import tracking
from nemotron.lineage.artifact import (
    MANIFEST,
    Artifact,
    ArtifactError,
    list_names,
    list_versions,
    read,
    read_aliases,
    read_version,
    version_file,
    write,
)
from nemotron.lineage.inputs import make_local


def resolve(reference: str, root: Path | str, *, hint: str | None = None) -> Artifact:
    """Find the artifact of `name`, `name:latest`, `name:v3`, `name:alias` or a folder.

    An artifact that is not recorded in `root` is looked up in the W&B project, if one is set. A folder that was moved
    is found by its new path. `hint` tells the user how to make a missing artifact; it is added to the error's own
    advice.

    Raises:
        ArtifactError: There is no such artifact, or its folder no longer exists.
    """
    root = Path(root)
    if "/" in reference or Path(reference).is_dir():
        return _from_folder(Path(reference), hint)
    artifact = _find(reference, root, hint)
    if not Path(artifact.path).exists():
        raise ArtifactError(
            f"{artifact.reference} was recorded at {artifact.path}, which no longer exists.",
            _join_advice("Give its new path, or make it again.", hint),
        )
    return artifact


def _find(reference: str, root: Path, hint: str | None) -> Artifact:
    """Find a record on disk, else in W&B; one from W&B is saved for the next time."""
    try:
        return find_record(reference, root, hint=hint)
    except ArtifactError as missing:
        name, _, label = reference.partition(":")
        artifact, reason = tracking.fetch(name, label or "latest")
        if artifact is None:
            raise ArtifactError(missing.message, _join_advice(missing.hint, reason)) from None
    if not Path(artifact.path).exists():
        raise ArtifactError(
            f"{artifact.reference} is in W&B, but not on this machine: it was recorded at {artifact.path}.",
            _join_advice("Work on the machine with that folder, or copy the folder and give its path.", hint),
        )
    kept = version_file(root, artifact.name, artifact.version)
    if not kept.exists():
        write(artifact, kept)
    return dataclasses.replace(artifact, metadata=make_local(artifact.metadata))


def find_record(reference: str, root: Path | str, *, hint: str | None = None) -> Artifact:
    """Find the record of a reference, whether or not its folder exists.

    A reference is `name`, `name:latest`, `name:v3` or `name:alias`.

    Raises:
        ArtifactError: There is no such name, version or alias, or the record is damaged; the message suggests the
            closest.
    """
    name, _, label = reference.partition(":")
    return _find_recorded(name, label or "latest", Path(root), hint)


def _from_folder(folder: Path, hint: str | None) -> Artifact:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        what = f"has no {MANIFEST}" if folder.is_dir() else "does not exist"
        raise ArtifactError(f"The folder {folder} {what}.", _join_advice(hint))
    return dataclasses.replace(_read(lambda: read(manifest)), path=str(folder.resolve()))


def _find_recorded(name: str, label: str, root: Path, hint: str | None) -> Artifact:
    numbers = list_versions(root, name)
    if not numbers:
        known = list_names(root)
        near = did_you_mean(name, known) or (f"It has: {', '.join(known)}." if known else None)
        raise ArtifactError(f'There is no artifact "{name}" in {root}.', _join_advice(near, hint))
    is_version = label.startswith("v") and label[1:].isdecimal()
    named = read_aliases(root, name)
    version = int(label[1:]) if is_version else named.get(label)
    if version not in numbers:
        known = [*named, *(f"v{number}" for number in numbers)]
        listed = f"{name} has: {', '.join(known)}."
        raise ArtifactError(
            f'There is no "{label}" of the artifact {name} in {root}.',
            _join_advice(did_you_mean(label, known), listed, hint),
        )
    return _read(lambda: read_version(root, name, version))


def _read(read: Callable[[], Artifact]) -> Artifact:
    try:
        artifact = read()
    except ValueError as error:
        raise ArtifactError(f"{error}.", "Delete the file and make the artifact again.") from error
    return dataclasses.replace(artifact, metadata=make_local(artifact.metadata))


def _join_advice(*sentences: str | None) -> str | None:
    return " ".join(filter(None, sentences)) or None
