"""Recording a new artifact."""

import contextlib
import dataclasses
import errno
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nemotron.atomic_files import write_text
from nemotron.lineage import origin, tracking
from nemotron.lineage.artifact import (
    MANIFEST,
    Artifact,
    ArtifactError,
    alias_file,
    place_file,
    read,
    version_file,
    versions,
    write,
)
from nemotron.lineage.digest import digest_of
from nemotron.lineage.inputs import describe_inputs, localized, portable
from nemotron.paths import expand_home
from nemotron.secrets import mask_text, mask_tree, mask_values

_MADE_BY = ("version", "created", "code", "command", "job", "config")
"""Fields in which two records of the same thing may differ."""


def check_root(root: Path | str) -> None:
    """Refuse a root folder that a file blocks, before any work is done.

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
    input_digests: Mapping[str, str] | None = None,
    aliases: Sequence[str] = (),
    digest: str | None = None,
    config: Mapping[str, Any] | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
) -> Artifact:
    """Record the folder `path` as the next version of `name`, and as its `latest`.

    Writes `<root>/<name>/v<N>.json`, the aliases, and a manifest `artifact.json` in the folder itself. Recording the
    same again gives the version that exists and only moves the aliases: the same folder, facts, inputs and content, or
    the same `run_hash` in the metadata, wherever it was made. Safe against other writers.

    With a W&B project the same is recorded there: in the run that `tracking.wandb_run` has open, else in one of its
    own. If that fails, a warning says so and the files stand.

    Args:
        name, type, path, metadata: as `Artifact` has them.
        root: folder of the artifact records.
        inputs: artifacts, references, paths and URLs that it was made from.
        input_digests: content of inputs that are no artifacts, by the input.
        aliases: further names of this version, besides `latest`.
        digest: names the content; None reads it off the folder.
        config: the resolved config; secrets in it are masked here.
        wandb_project, wandb_entity: of a run of its own; without them the variables say.

    Raises:
        ArtifactError: a name or alias cannot be part of a reference.
    """
    for word in (name, *aliases):
        check_name(word)
    root, folder = expand_home(root), Path(path).resolve()
    references, digests = describe_inputs(inputs, input_digests or {}, root)
    artifact = Artifact(
        name=name,
        type=type,
        version=0,
        path=str(folder),
        metadata=mask_values(portable(metadata or {})),
        inputs=mask_values(references),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=digest_of(folder) if digest is None else digest,
        input_digests={mask_text(source): found for source, found in digests.items()},
        code=origin.code_version(),
        command=origin.command_line(),
        job=origin.job(),
        config=portable(mask_tree(dict(config or {}))),
    )
    artifact = _same(artifact, root) or _next_version(artifact, root)
    _write_manifest(artifact, folder)
    for alias in dict.fromkeys(["latest", *aliases]):
        write_text(alias_file(root, name, alias), f"v{artifact.version}\n")
    tracking.record(artifact, root, aliases, wandb_project, wandb_entity)
    return dataclasses.replace(artifact, metadata=localized(artifact.metadata))


def _write_manifest(artifact: Artifact, folder: Path) -> None:
    """Write the record into the folder itself.

    One that is registered in place may be somebody else's.
    """
    try:
        write(artifact, folder / MANIFEST)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def check_name(word: str) -> None:
    """Refuse a name or an alias that could not be part of a reference.

    Before any work is done that it would record.
    """
    if not re.fullmatch(r"[\w.-]+", word) or re.fullmatch(r"v\d+", word):
        raise ArtifactError(
            f'"{word}" cannot name an artifact or an alias.',
            "Use letters, digits, dots, dashes and underscores, and not a version such as v3.",
        )


def _same(artifact: Artifact, root: Path) -> Artifact | None:
    """Find the newest recorded version of the same thing, and note where it is now."""
    for version in reversed(versions(root, artifact.name)):
        known = read(version_file(root, artifact.name, version))
        if _is_same(known, artifact):
            return _placed(known, artifact.path, root)
    return None


def _is_same(known: Artifact, new: Artifact) -> bool:
    if (run_hash := new.metadata.get("run_hash")) is not None and known.digest in ("", new.digest):
        return known.metadata.get("run_hash") == run_hash
    if not known.digest:  # of an earlier release
        new = dataclasses.replace(new, digest="", input_digests={})
    return known == dataclasses.replace(new, **{field: getattr(known, field) for field in _MADE_BY})


def _placed(known: Artifact, path: str, root: Path) -> Artifact:
    """Return `known` at `path`, which is where it will be found from now on."""
    place = place_file(root, known.name, known.version)
    if path != known.path or place.is_file():
        write_text(place, f"{path}\n")
    return dataclasses.replace(known, path=path)


def _next_version(artifact: Artifact, root: Path) -> Artifact:
    """Claim the next free number by creating its file exclusively, then fill it.

    That also holds on NFS.
    """
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
        if (first := _claim_run_hash(numbered, root)) is not None:
            target.unlink()
            return first
        write(numbered, target)
        return numbered


def _claim_run_hash(artifact: Artifact, root: Path) -> Artifact | None:
    """Claim a run hash for a version.

    Return the version of a process that records the same at the same time.
    """
    run_hash = artifact.metadata.get("run_hash")
    if not isinstance(run_hash, str) or not run_hash.isalnum():
        return None
    claim = root / artifact.name / "run_hashes" / run_hash
    claim.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError), claim.open("x") as file:
        file.write(f"v{artifact.version}\n")
        return None
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        number = claim.read_text(encoding="utf-8").strip().removeprefix("v")
        if number.isdigit() and int(number) in versions(root, artifact.name):
            known = read(version_file(root, artifact.name, int(number)))
            return _placed(known, artifact.path, root) if _is_same(known, artifact) else None
        time.sleep(0.05)
    # Its process died before it wrote the record, or the record was removed since.
    write_text(claim, f"v{artifact.version}\n")
    return None
