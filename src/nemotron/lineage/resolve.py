"""From a reference in a config to the artifact it means."""

import dataclasses
from pathlib import Path

from nemotron.errors import did_you_mean
from nemotron.lineage.artifact import MANIFEST, Artifact, ArtifactError, alias_file, read, version_file, versions
from nemotron.paths import expand_home


def resolve(reference: str, root: Path | str, *, hint: str | None = None) -> Artifact:
    """Find the artifact of `name`, `name:latest`, `name:v3`, `name:alias` or a folder.

    `hint` tells the user how to make a missing one; it ends the error's own advice. Raises ArtifactError when there
    is no such artifact or its folder has vanished. A folder that was moved is found by its new path.
    """
    root = expand_home(root)
    if "/" in reference or Path(reference).is_dir():
        return _from_folder(expand_home(reference), hint)
    name, _, label = reference.partition(":")
    artifact = _recorded(name, label or "latest", root, hint)
    if not Path(artifact.path).exists():
        raise ArtifactError(
            f"{artifact.reference} was recorded at {artifact.path}, which no longer exists.",
            _advice("Give its new path, or make it again.", hint),
        )
    return artifact


def _from_folder(folder: Path, hint: str | None) -> Artifact:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        what = f"has no {MANIFEST}" if folder.is_dir() else "does not exist"
        raise ArtifactError(f"The folder {folder} {what}.", _advice(hint))
    return dataclasses.replace(_read(manifest), path=str(folder.resolve()))


def _recorded(name: str, label: str, root: Path, hint: str | None) -> Artifact:
    numbers = versions(root, name)
    if not numbers:
        names = [path.name for path in root.glob("*") if versions(root, path.name)]
        raise ArtifactError(f'There is no artifact "{name}" in {root}.', _advice(did_you_mean(name, names), hint))
    is_version = label.startswith("v") and label[1:].isdigit()
    version = int(label[1:]) if is_version else _alias_target(root, name, label)
    if version not in numbers:
        aliases = sorted(path.name for path in (root / name / "aliases").glob("[!.]*"))
        known = [*aliases, *(f"v{number}" for number in numbers)]
        listed = f"{name} has: {', '.join(known)}."
        raise ArtifactError(
            f'There is no "{label}" of the artifact {name} in {root}.',
            _advice(did_you_mean(label, known), listed, hint),
        )
    return _read(version_file(root, name, version))


def _alias_target(root: Path, name: str, alias: str) -> int | None:
    path = alias_file(root, name, alias)
    return int(path.read_text(encoding="utf-8").strip().removeprefix("v")) if path.is_file() else None


def _read(path: Path) -> Artifact:
    try:
        return read(path)
    except ValueError as error:
        raise ArtifactError(f"{error}.", "Delete the file and make the artifact again.") from error


def _advice(*sentences: str | None) -> str | None:
    return " ".join(filter(None, sentences)) or None
