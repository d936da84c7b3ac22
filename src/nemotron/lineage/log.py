"""Record a new artifact."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nemotron.files.atomic_files import remove_abandoned, write_text
from nemotron.lineage import origin, tracking
from nemotron.lineage.artifact import (
    MANIFEST,
    Artifact,
    ArtifactError,
    alias_file,
    list_versions,
    place_file,
    read,
    read_version_label,
    version_file,
    write,
)
from nemotron.lineage.digest import compute_digest
from nemotron.lineage.inputs import describe_inputs, make_local, make_portable
from nemotron.secrets import mask_text, mask_tree, mask_values

_MADE_BY = ("version", "created", "code", "command", "job", "config")
"""Fields that may differ between two records of the same thing."""


def check_root(root: Path | str) -> None:
    """Refuse a root folder that cannot be written, before any work is done.

    Raises:
        ArtifactError: A file has its path or a path above it, or the folder is not writable.
    """
    root = Path(root)
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
    input_digests: Mapping[str, str] | None = None,
    aliases: Sequence[str] = (),
    digest: str | None = None,
    config: Mapping[str, Any] | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
) -> Artifact:
    """Record the folder `path` as the next version of `name`, and as its `latest`.

    Writes `<root>/<name>/v<N>.json`, the aliases, and a manifest `artifact.json` in the folder itself. Recording the
    same again returns the existing version and only moves the aliases. It is the same if folder, facts, inputs and
    content are, or if the metadata has the same `run_hash`, wherever it was made. Several processes may record at the
    same time.

    With a W&B project the same is recorded there: in the run that `tracking.wandb_run` has open, else in a new run. If
    that fails, a warning is logged and the files remain.

    Args:
        name, type, path, metadata: Fields of `Artifact`.
        root: The folder of the artifact records.
        inputs: Artifacts, references, paths and URLs that it was made from.
        input_digests: Digests of inputs that are not artifacts, by the input.
        aliases: Further names of this version, in addition to `latest`.
        digest: The digest of the content; None computes it from the folder.
        config: The resolved config; secrets in it are masked here.
        wandb_project, wandb_entity: For a new W&B run; by default from the environment.

    Raises:
        ArtifactError: A name or alias cannot be part of a reference.
    """
    for word in (name, *aliases):
        check_name(word)
    root, folder = Path(root), Path(path).resolve()
    references, digests = describe_inputs(inputs, input_digests or {}, root)
    artifact = Artifact(
        name=name,
        type=type,
        version=0,
        path=str(folder),
        metadata=make_portable(mask_tree(dict(metadata or {}))),
        inputs=mask_values(references),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=compute_digest(folder) if digest is None else digest,
        input_digests={mask_text(source): found for source, found in digests.items()},
        code=origin.describe_code(),
        command=origin.describe_command(),
        job=origin.describe_job(),
        config=make_portable(mask_tree(dict(config or {}))),
    )
    artifact = _find_same(artifact, root) or _claim_version(artifact, root)
    _write_manifest(artifact, folder)
    for alias in dict.fromkeys(["latest", *aliases]):
        write_text(alias_file(root, name, alias), f"v{artifact.version}\n")
    tracking.record(artifact, root, aliases, wandb_project, wandb_entity)
    return dataclasses.replace(artifact, metadata=make_local(artifact.metadata))


def _write_manifest(artifact: Artifact, folder: Path) -> None:
    """Write the record to the artifact's own folder, if that is writable.

    A folder that was registered in place may belong to another user.
    """
    try:
        write(artifact, folder / MANIFEST)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def check_name(word: str) -> None:
    """Refuse a name or an alias that cannot be part of a reference.

    Call it before doing the work that is to be recorded.
    """
    if not re.fullmatch(r"[\w.-]+", word) or re.fullmatch(r"v\d+", word):
        raise ArtifactError(
            f'"{word}" is not a valid name for an artifact or an alias.',
            "Use letters, digits, dots, dashes and underscores, but not a version such as v3.",
        )


def _find_same(artifact: Artifact, root: Path) -> Artifact | None:
    """Find the newest version of the same thing, and record where it is now."""
    for version in reversed(list_versions(root, artifact.name)):
        known = _read_version(artifact.name, version, root)
        if known is not None and _is_same(known, artifact):
            return _record_place(known, artifact.path, root)
    return None


def _read_version(name: str, version: int, root: Path) -> Artifact | None:
    """Read a recorded version; None if its file is damaged.

    A damaged one must not keep others from being recorded.
    """
    try:
        return read(version_file(root, name, version))
    except ValueError:
        return None


def _is_same(known: Artifact, new: Artifact) -> bool:
    if (run_hash := new.metadata.get("run_hash")) is not None and known.digest in ("", new.digest):
        return known.metadata.get("run_hash") == run_hash
    if not known.digest:  # from an earlier release
        new = dataclasses.replace(new, digest="", input_digests={})
    return known == dataclasses.replace(new, **{field: getattr(known, field) for field in _MADE_BY})


def _record_place(known: Artifact, path: str, root: Path) -> Artifact:
    """Record that a known version is now at `path`, and return it with that path."""
    place = place_file(root, known.name, known.version)
    if path != known.path or place.is_file():
        write_text(place, f"{path}\n")
    return dataclasses.replace(known, path=path)


def _claim_version(artifact: Artifact, root: Path) -> Artifact:
    """Claim the next free version by creating its file exclusively, then fill it.

    This is safe on NFS too.
    """
    version = max(list_versions(root, artifact.name), default=0)
    while True:
        version += 1
        target = version_file(root, artifact.name, version)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.touch(exist_ok=False)
        except FileExistsError:
            continue
        remove_abandoned(target.parent)
        numbered = dataclasses.replace(artifact, version=version)
        if (first := _claim_content(numbered, root)) is not None:
            target.unlink()
            return first
        write(numbered, target)
        return numbered


def _claim_content(artifact: Artifact, root: Path) -> Artifact | None:
    """Claim the content of an artifact for its version.

    If another process records the same at the same time, return its version.
    """
    claim = root / artifact.name / "claims" / _name_claim(artifact)
    claim.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError), claim.open("x") as file:
        file.write(f"v{artifact.version}\n")
        return None
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        number = read_version_label(claim)
        if number is not None and number in list_versions(root, artifact.name):
            known = _read_version(artifact.name, number, root)
            return _record_place(known, artifact.path, root) if known else None
        time.sleep(0.05)
    # The process died before it wrote the record, or the record was removed later.
    write_text(claim, f"v{artifact.version}\n")
    return None


def _name_claim(artifact: Artifact) -> str:
    """Return a hash of what makes two records the same, as `_is_same` compares them."""
    same = {key: value for key, value in dataclasses.asdict(artifact).items() if key not in _MADE_BY}
    if (run_hash := artifact.metadata.get("run_hash")) is not None:
        same = {"run_hash": run_hash, "digest": artifact.digest}
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
