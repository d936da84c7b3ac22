"""Define an artifact, one version of data or a model, and its files on disk."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.files.atomic_files import write_text
from nemotron.files.regular_files import read_text
from nemotron.files.typed import typed

MANIFEST = "artifact.json"
"""The file name of the record in the artifact's own folder."""


class ArtifactError(UserError):
    """An artifact is not recorded, cannot be recorded, or its folder is gone."""


@dataclass(frozen=True)
class Artifact:
    """One version of a dataset or a model.

    Fields that an earlier release did not record are empty.
    """

    name: str
    """The name that all versions share: `SFTDataArtifact-sft`."""
    type: str
    """Its kind: "dataset" or "model"."""
    version: int
    path: str
    """The absolute path of its folder."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Facts that a consumer needs, as JSON values."""
    inputs: list[str] = field(default_factory=list)
    """What it was made from: references such as `SFTDataArtifact-sft:v3`, `bundled:FILE@DIGEST`, paths and URLs."""
    created: str = ""
    """UTC, ISO 8601."""
    digest: str = ""
    """Digest of the content (digest.py)."""
    input_digests: dict[str, str] = field(default_factory=dict)
    """Digests of inputs that are not artifacts, if known."""
    code: dict[str, Any] = field(default_factory=dict)
    """The code that made it: `package`, and for a git checkout `commit` and `modified`."""
    command: str = ""
    """The command line, with secrets masked."""
    job: dict[str, str] = field(default_factory=dict)
    """Where it ran: `kind` ("slurm" or "local"), `id`, `host`."""
    config: dict[str, Any] = field(default_factory=dict)
    """The resolved config, with secrets masked."""

    @property
    def reference(self) -> str:
        """The reference `name:v3`, which always means this version."""
        return f"{self.name}:v{self.version}"


def version_file(root: Path, name: str, version: int) -> Path:
    """`<root>/<name>/v<version>.json`."""
    return root / name / f"v{version}.json"


def alias_file(root: Path, name: str, alias: str) -> Path:
    """Return the file of an alias, `<root>/<name>/aliases/<alias>`.

    Each alias has its own file, so that two writers need no lock.
    """
    return root / name / "aliases" / alias


def place_file(root: Path, name: str, version: int) -> Path:
    """Return the file of a place, `<root>/<name>/places/v<version>`.

    It contains the folder that last got the same content, if that is not the first folder.
    """
    return root / name / "places" / f"v{version}"


def list_names(root: Path) -> list[str]:
    """List the names that have a version, in alphabetical order."""
    return sorted(path.name for path in root.glob("[!.]*") if list_versions(root, path.name))


def list_versions(root: Path, name: str) -> list[int]:
    """List the versions of a name, oldest first.

    A version that is still being written is left out.
    """
    found = [path for path in (root / name).glob("v*.json") if _is_version(path.stem[1:]) and _is_written(path)]
    return sorted(int(path.stem[1:]) for path in found)


def _is_written(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:  # claimed, then given up because another process recorded the same; or a link that goes nowhere
        return False


def read_aliases(root: Path, name: str) -> dict[str, int]:
    """Return the version of each alias of a name."""
    found = {}
    for path in sorted((root / name / "aliases").glob("[!.]*")):
        if (version := read_version_label(path)) is not None:
            found[path.name] = version
    return found


def read_version_label(path: Path) -> int | None:
    """Return the version in a file such as an alias; None if it is damaged."""
    number = _read_line(path).removeprefix("v")
    return int(number) if _is_version(number) else None


def _is_version(number: str) -> bool:
    return number.isascii() and number.isdecimal() and len(number) < 19


def _read_line(path: Path) -> str:
    try:
        return read_text(path).strip()
    except (OSError, ValueError):
        return ""


def read(path: Path) -> Artifact:
    """Read the artifact recorded in a JSON file.

    Raises:
        ValueError: The file is not an artifact record.
    """
    try:
        return typed(Artifact, json.loads(read_text(path)), ignores_unknown=True)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path} is not an artifact record: {reason}") from error


def read_version(root: Path, name: str, version: int) -> Artifact:
    """Read a version, with the place where it is now.

    Raises:
        ValueError: Its file is not an artifact record.
    """
    artifact = read(version_file(root, name, version))
    latest = _read_line(place_file(root, name, version))
    is_place = latest.startswith("/") and "\0" not in latest and Path(latest).exists()
    return dataclasses.replace(artifact, path=latest) if is_place else artifact


def write(artifact: Artifact, path: Path) -> None:
    """Write a record atomically."""
    write_text(path, json.dumps(dataclasses.asdict(artifact), indent=2, ensure_ascii=False) + "\n")
