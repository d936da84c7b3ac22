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

    `name` is what it is called across versions (`SFTDataArtifact-sft`), `type` its kind ("dataset", "model"), `path`
    the folder that holds it (absolute), `metadata` facts a consumer needs (JSON values), `inputs` what it was made
    from: references such as `SFTDataArtifact-sft:v3`, or paths and URLs. `created` is UTC, ISO 8601.
    """

    name: str
    type: str
    version: int
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    created: str = ""

    @property
    def reference(self) -> str:
        """`name:v3`, which always means this version."""
        return f"{self.name}:v{self.version}"


def version_file(root: Path, name: str, version: int) -> Path:
    """`<root>/<name>/v<version>.json`."""
    return root / name / f"v{version}.json"


def alias_file(root: Path, name: str, alias: str) -> Path:
    """`<root>/<name>/aliases/<alias>`: one file each, so that two writers need no lock."""
    return root / name / "aliases" / alias


def versions(root: Path, name: str) -> list[int]:
    """List the complete versions of a name, oldest first; one that is still being written is left out."""
    found = [path for path in (root / name).glob("v*.json") if path.stem[1:].isdigit() and path.stat().st_size]
    return sorted(int(path.stem[1:]) for path in found)


def read(path: Path) -> Artifact:
    """Read the artifact recorded in a JSON file. Raises ValueError when the file is not such a record."""
    known = {item.name for item in dataclasses.fields(Artifact)}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        # Fields a later version of this project adds are not this version's business.
        return Artifact(**{key: value for key, value in record.items() if key in known})
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not an artifact record: {error}") from error


def write(artifact: Artifact, path: Path) -> None:
    """Write the record as a whole or not at all."""
    write_text(path, json.dumps(dataclasses.asdict(artifact), indent=2, ensure_ascii=False) + "\n")
