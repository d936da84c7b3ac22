"""Follow what was made from what, across all records of a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.lineage.artifact import Artifact, list_names, list_versions, read_version


@dataclass(frozen=True)
class Node:
    """An artifact or another source, and its neighbours in one direction."""

    reference: str
    artifact: Artifact | None
    """None for a path, a URL or a seed, and for a version without a record."""
    digest: str
    children: tuple["Node", ...]
    seen: bool = False
    """Whether it already appears above in the tree, with its neighbours."""

    def to_dict(self, key: str) -> dict[str, Any]:
        """Return the tree as JSON values, with neighbours under `key`."""
        known = self.artifact
        facts = {"type": known.type, "path": known.path, "created": known.created} if known else {}
        children = {} if self.seen else {key: [child.to_dict(key) for child in self.children]}
        return {"reference": self.reference, "digest": self.digest, **facts, **children}


class Records:
    """All records of a folder, read once. Damaged records are left out."""

    def __init__(self, root: Path) -> None:
        self._artifacts: dict[str, Artifact] = {}
        for name in list_names(root):
            for version in list_versions(root, name):
                try:
                    artifact = read_version(root, name, version)
                except ValueError:
                    continue
                self._artifacts[artifact.reference] = artifact

    def __contains__(self, reference: str) -> bool:
        return reference in self._artifacts

    def trace_inputs(self, artifact: Artifact) -> Node:
        """Return what an artifact was made from, down to the datasets."""
        return self._inputs(artifact.reference, "", set())

    def trace_outputs(self, artifact: Artifact) -> Node:
        """Return what was made from an artifact, up to the exports."""
        return self._outputs(artifact.reference, set())

    def _inputs(self, reference: str, digest: str, seen: set[str]) -> Node:
        artifact = self._artifacts.get(reference)
        if artifact is None:
            return Node(reference, None, digest, ())
        if reference in seen:
            return Node(reference, artifact, artifact.digest, (), seen=bool(artifact.inputs))
        seen.add(reference)
        digests = artifact.input_digests
        children = tuple(self._inputs(each, digests.get(each, ""), seen) for each in artifact.inputs)
        return Node(reference, artifact, artifact.digest, children)

    def _outputs(self, reference: str, seen: set[str]) -> Node:
        artifact = self._artifacts[reference]
        users = [each for each in self._artifacts.values() if reference in each.inputs]
        if reference in seen:
            return Node(reference, artifact, artifact.digest, (), seen=bool(users))
        seen.add(reference)
        return Node(reference, artifact, artifact.digest, tuple(self._outputs(each.reference, seen) for each in users))
