"""From a reference in a config to the artifact it means."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from nemotron.errors import did_you_mean
from nemotron.lineage import tracking
from nemotron.lineage.artifact import (
    MANIFEST,
    Artifact,
    ArtifactError,
    aliases,
    names,
    read,
    read_version,
    version_file,
    versions,
    write,
)
from nemotron.lineage.inputs import localized
from nemotron.paths import expand_home


def resolve(reference: str, root: Path | str, *, hint: str | None = None) -> Artifact:
    """Find the artifact of `name`, `name:latest`, `name:v3`, `name:alias` or a folder.

    What is not recorded in `root` is looked for in the W&B project, if one is set.

    `hint` tells the user how to make a missing one; it ends the error's own advice. Raises ArtifactError when there
    is no such artifact or its folder has vanished. A folder that was moved is found by its new path.
    """
    root = expand_home(root)
    if "/" in reference or Path(reference).is_dir():
        return _from_folder(expand_home(reference), hint)
    artifact = _found(reference, root, hint)
    if not Path(artifact.path).exists():
        raise ArtifactError(
            f"{artifact.reference} was recorded at {artifact.path}, which no longer exists.",
            _advice("Give its new path, or make it again.", hint),
        )
    return artifact


def _found(reference: str, root: Path, hint: str | None) -> Artifact:
    """Find a record on disk, else in W&B, from where it is kept for the next time."""
    try:
        return find_record(reference, root, hint=hint)
    except ArtifactError as missing:
        name, _, label = reference.partition(":")
        artifact, reason = tracking.fetch(name, label or "latest")
        if artifact is None:
            raise ArtifactError(missing.message, _advice(missing.hint, reason)) from None
    if not Path(artifact.path).exists():
        raise ArtifactError(
            f"{artifact.reference} is in W&B, but not on this machine: it was recorded at {artifact.path}.",
            _advice("Work where that folder is, or copy it and give its path.", hint),
        )
    kept = version_file(root, artifact.name, artifact.version)
    if not kept.exists():
        write(artifact, kept)
    return dataclasses.replace(artifact, metadata=localized(artifact.metadata))


def find_record(reference: str, root: Path | str, *, hint: str | None = None) -> Artifact:
    """Find the record that a reference means, whether or not its folder exists.

    `name`, `name:latest`, `name:v3` or `name:alias`.

    Raises:
        ArtifactError: there is no such name, version or alias, or the record is damaged; it names the nearest.
    """
    name, _, label = reference.partition(":")
    return _recorded(name, label or "latest", expand_home(root), hint)


def _from_folder(folder: Path, hint: str | None) -> Artifact:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        what = f"has no {MANIFEST}" if folder.is_dir() else "does not exist"
        raise ArtifactError(f"The folder {folder} {what}.", _advice(hint))
    return dataclasses.replace(_read(lambda: read(manifest)), path=str(folder.resolve()))


def _recorded(name: str, label: str, root: Path, hint: str | None) -> Artifact:
    numbers = versions(root, name)
    if not numbers:
        known = names(root)
        near = did_you_mean(name, known) or (f"It has: {', '.join(known)}." if known else None)
        raise ArtifactError(f'There is no artifact "{name}" in {root}.', _advice(near, hint))
    is_version = label.startswith("v") and label[1:].isdigit()
    named = aliases(root, name)
    version = int(label[1:]) if is_version else named.get(label)
    if version not in numbers:
        known = [*named, *(f"v{number}" for number in numbers)]
        listed = f"{name} has: {', '.join(known)}."
        raise ArtifactError(
            f'There is no "{label}" of the artifact {name} in {root}.',
            _advice(did_you_mean(label, known), listed, hint),
        )
    return _read(lambda: read_version(root, name, version))


def _read(read: Callable[[], Artifact]) -> Artifact:
    try:
        artifact = read()
    except ValueError as error:
        raise ArtifactError(f"{error}.", "Delete the file and make the artifact again.") from error
    return dataclasses.replace(artifact, metadata=localized(artifact.metadata))


def _advice(*sentences: str | None) -> str | None:
    return " ".join(filter(None, sentences)) or None
