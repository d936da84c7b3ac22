"""Describe inputs as references that mean the same on every machine."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nemotron.files.paths import config_dir
from nemotron.lineage.artifact import MANIFEST, Artifact, read, version_file
from nemotron.lineage.digest import compute_digest
from nemotron.secrets import mask_text

BUNDLED = "bundled:"


def describe_inputs(
    inputs: Iterable[Artifact | str], digests: Mapping[str, str], root: Path
) -> tuple[list[str], dict[str, str]]:
    """Return inputs as references, without duplicates.

    A path inside an artifact recorded in `root` becomes that artifact. A path to a shipped config, which a job has in
    its own folder, becomes `bundled:FILE@DIGEST`. Credentials in URLs are masked.

    Args:
        inputs: Artifacts, references, paths and URLs.
        digests: Known digests, by the input as given.
        root: The folder of the artifact records.

    Returns:
        The references, and the known digests of those that are not artifacts.
    """
    references: dict[str, str] = {}
    for source in inputs:
        if isinstance(source, Artifact):
            references[source.reference] = ""
            continue
        artifact = _find_artifact(source, root)
        reference, digest = (artifact, "") if artifact else describe_source(source)
        references[reference] = digest or digests.get(source, "")
    return list(references), {reference: digest for reference, digest in references.items() if digest}


def describe_source(source: str) -> tuple[str, str]:
    """Return a reference for a path or a URL; a shipped file is named by its content.

    Returns:
        The reference, and the digest if the file is a shipped one, else "".
    """
    path, shipped = Path(source), config_dir()
    if path.is_absolute() and path.is_relative_to(shipped) and path.exists():
        digest = compute_digest(path)
        return f"{BUNDLED}{path.relative_to(shipped).as_posix()}@{digest.partition(':')[2][:12]}", digest
    return mask_text(source), ""


def make_portable(value: Any) -> Any:
    """Replace paths into the shipped configs by `bundled:FILE`, in nested values.

    A job has its own copy of these files.
    """
    shipped = f"{config_dir()}/"
    return _map(value, lambda text: f"{BUNDLED}{text[len(shipped) :]}" if text.startswith(shipped) else text)


def make_local(value: Any) -> Any:
    """Replace `bundled:FILE` by its path on this machine."""
    return _map(value, lambda text: str(config_dir() / text[len(BUNDLED) :]) if text.startswith(BUNDLED) else text)


def _map(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map(child, change) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_map(child, change) for child in value]
    return change(value) if isinstance(value, str) else value


def _find_artifact(source: str, root: Path) -> str | None:
    """Find the artifact that a path belongs to.

    The path is the artifact's folder, or a file or folder directly inside it.
    """
    try:
        path = Path(source).resolve()
        if "/" not in source or not path.exists():
            return None
        for folder in (path, path.parent):
            if (folder / MANIFEST).is_file():
                artifact = read(folder / MANIFEST)
                is_known = version_file(root, artifact.name, artifact.version).is_file()
                return artifact.reference if is_known and not _is_other_iteration(path, artifact) else None
    except (OSError, ValueError):
        pass
    return None


def _is_other_iteration(path: Path, artifact: Artifact) -> bool:
    """Tell whether a path is another checkpoint than the run's model."""
    iteration, digits = artifact.metadata.get("iteration"), path.name.removeprefix("iter_")
    return iteration is not None and digits.isdecimal() and int(digits) != iteration
