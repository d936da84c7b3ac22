"""One version of something a stage made, and how it is written down."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemotron.atomic_files import write_text
from nemotron.errors import UserError

MANIFEST = "artifact.json"
"""The record's name inside the artifact's own folder."""


class ArtifactError(UserError):
    """An artifact that is not recorded, cannot be, or whose folder is gone."""


@dataclass(frozen=True)
class Artifact:
    """One version of a dataset or a model.

    What an earlier release did not record is empty.
    """

    name: str
    """What it is called across versions: `SFTDataArtifact-sft`."""
    type: str
    """Its kind: "dataset" or "model"."""
    version: int
    path: str
    """The folder that holds it, absolute."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Facts a consumer needs, as JSON values."""
    inputs: list[str] = field(default_factory=list)
    """What it was made from: references such as `SFTDataArtifact-sft:v3`, `bundled:FILE@DIGEST`, paths and URLs."""
    created: str = ""
    """UTC, ISO 8601."""
    digest: str = ""
    """Names the content (digest.py)."""
    input_digests: dict[str, str] = field(default_factory=dict)
    """Of inputs that are no artifacts, where they are known."""
    code: dict[str, Any] = field(default_factory=dict)
    """Which code made it: `package`, and `commit` and `modified` for a git checkout."""
    command: str = ""
    """The command line, secrets masked."""
    job: dict[str, str] = field(default_factory=dict)
    """Where it ran: `kind` ("slurm" or "local"), `id`, `host`."""
    config: dict[str, Any] = field(default_factory=dict)
    """The resolved config, secrets masked."""

    @property
    def reference(self) -> str:
        """`name:v3`, which always means this version."""
        return f"{self.name}:v{self.version}"


def version_file(root: Path, name: str, version: int) -> Path:
    """`<root>/<name>/v<version>.json`."""
    return root / name / f"v{version}.json"


def alias_file(root: Path, name: str, alias: str) -> Path:
    """Return the file of an alias, `<root>/<name>/aliases/<alias>`.

    There is one file each, so that two writers need no lock.
    """
    return root / name / "aliases" / alias


def place_file(root: Path, name: str, version: int) -> Path:
    """Return the file of a place, `<root>/<name>/places/v<version>`.

    It names the folder that last got the same content, where it is not the first.
    """
    return root / name / "places" / f"v{version}"


def names(root: Path) -> list[str]:
    """List the names that have a version, sorted."""
    return sorted(path.name for path in root.glob("[!.]*") if versions(root, path.name))


def versions(root: Path, name: str) -> list[int]:
    """List the complete versions of a name, oldest first.

    One that is still being written is left out.
    """
    found = [path for path in (root / name).glob("v*.json") if path.stem[1:].isdigit() and _is_written(path)]
    return sorted(int(path.stem[1:]) for path in found)


def _is_written(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:  # claimed for what another process has recorded meanwhile, and given up again
        return False


def aliases(root: Path, name: str) -> dict[str, int]:
    """Read which version each alias of a name means."""
    found = {}
    for path in sorted((root / name / "aliases").glob("[!.]*")):
        number = path.read_text(encoding="utf-8").strip().removeprefix("v")
        if number.isdigit():
            found[path.name] = int(number)
    return found


def read(path: Path) -> Artifact:
    """Read the artifact recorded in a JSON file.

    Raises:
        ValueError: the file is not such a record.
    """
    known = {item.name for item in dataclasses.fields(Artifact)}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        # Fields a later version of this project adds are not this version's business.
        return Artifact(**{key: value for key, value in record.items() if key in known})
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not an artifact record: {error}") from error


def read_version(root: Path, name: str, version: int) -> Artifact:
    """Read a version, at the place where it is now.

    Raises:
        ValueError: its file is not a record.
    """
    artifact = read(version_file(root, name, version))
    place = place_file(root, name, version)
    if place.is_file():
        latest = place.read_text(encoding="utf-8").strip()
        if Path(latest).exists():
            return dataclasses.replace(artifact, path=latest)
    return artifact


def write(artifact: Artifact, path: Path) -> None:
    """Write the record as a whole or not at all."""
    write_text(path, json.dumps(dataclasses.asdict(artifact), indent=2, ensure_ascii=False) + "\n")
