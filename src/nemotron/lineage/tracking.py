"""Keep a run in Weights & Biases open, and record artifacts in it.

wandb is imported only if it is on.
"""

import contextlib
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.files.atomic_files import write_text
from nemotron.files.regular_files import read_text
from nemotron.lineage.access import Target, ask_server, find_target
from nemotron.lineage.artifact import Artifact, read_version
from nemotron.secrets import mask_text, mask_tree

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run

RUN_FILE = "wandb.json"
"""The file in a run's folder with the project, entity and id of its W&B run."""
_HANDED_OVER = ".recorded.json"
_WAIT_SECONDS = 120.0
"""How long to wait for a file of the first rank to appear on another node."""
_log = logging.getLogger(__name__)
_open: "Run | None" = None
_to_hand_over: list[list[Any]] = []
"""Artifacts of this rank that another rank sends to W&B: root, name, version, aliases."""


@contextlib.contextmanager
def wandb_run(
    target: Target | None,
    *,
    state: Path,
    folder: Path,
    name: str,
    job_type: str,
    config: Mapping[str, Any],
) -> Iterator["Run | None"]:
    """Keep a W&B run open for the duration of the `with` block, and record in it.

    Yields None if W&B is off or fails. The run that `state` names is continued, so that a resumed job has a single
    curve. If the server cannot be used, the run is recorded offline, for `wandb sync`. Of several ranks, the first one
    hands over what it recorded (`hand_over`), in the folder of `state`.

    Args:
        target: Where to record, as returned by `ask_server`; None means that W&B is off.
        state: JSON file for project, entity and id.
        folder: The folder for `wandb/`, with the client's own files.
        name: Display name of the W&B run.
        job_type: What the run does: "sft", "export".
        config: The resolved config; secrets in it are masked here.
    """
    global _open
    opened = None if target is None else _begin(target, state, folder, name, job_type, mask_tree(dict(config)))
    _open, before = opened, _open
    code = 1
    try:
        yield opened
        code = 0
        if opened is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            take_over(state.parent)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        _open = before
        if opened is not None:
            with _only_warn("The end of the run is not recorded in W&B"):
                opened.finish(code)


def record(
    artifact: Artifact, root: Path, aliases: Sequence[str], project: str | None = None, entity: str | None = None
) -> None:
    """Record an artifact and the use of its inputs in W&B.

    They go to the open run, else to a new one. With several ranks, the rank that has the run open records what the
    first rank hands over.
    """
    if _open is not None:
        _record(_open, artifact, root, aliases)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _to_hand_over.append([str(root), artifact.name, artifact.version, [*aliases]])
        return
    target = find_open_target(project, entity, root, artifact)
    if target is None:
        return
    if target.unreachable:
        _log.warning(
            "W&B: %s. %s is recorded below %s, for `wandb sync`.",
            target.unreachable,
            artifact.reference,
            root / "wandb",
        )
    state, name = _state_file(artifact, root), artifact.reference.replace(":", "-")
    with wandb_run(
        target, state=state, folder=root, name=name, job_type=f"make-{artifact.type}", config=artifact.config
    ) as run:
        if run is not None:
            _record(run, artifact, root, aliases)


def find_open_target(project: str | None, entity: str | None, root: Path, made: Artifact | None) -> Target | None:
    """Find where to record something in W&B, and ask its server once.

    The target says whether it can be sent there. None where W&B is off, or has recorded it.

    Args:
        project, entity: from the config.
        root: Folder of the artifact records.
        made: The artifact; None where it is still to be made.
    """
    target = find_target(project, entity)
    if target is None:
        return None
    known = {} if made is None else read_state(_state_file(made, root))
    if known.get("recorded") and _is_of(known, target):
        return None
    return ask_server(target)


def summarize(values: Mapping[str, Any], *, stopped: bool = False) -> None:
    """Set the summary of the open run, if there is one, for the table of runs.

    Args:
        values: The last metrics.
        stopped: A signal or a time limit stopped the work, which will be continued.
    """
    if _open is not None:
        with _only_warn("The end of the run is not recorded in W&B"):
            _open.summarize(values, stopped=stopped)


def fetch(name: str, label: str) -> tuple[Artifact | None, str]:
    """Look for an artifact in the W&B project, if one is set and can be reached.

    Returns:
        The artifact as it was recorded where it was made, and for a message what was not found.
    """
    target = find_target()
    if target is None or target.mode == "offline":
        return None, ""
    if reason := ask_server(target).unreachable:
        return None, f"W&B was not asked: {reason}."
    try:
        from nemotron.lineage import wandb

        return wandb.fetch(name, label, target), ""
    except Exception as error:  # the client raises many kinds for an artifact that is not there
        return None, f"Nor is it in {target} of W&B: {mask_text(str(error)).rstrip('.')}."


def wandb_run_of(artifact: Artifact, root: Path) -> str:
    """Return the W&B run of an artifact, as `entity/project/id`, or ""."""
    known = read_state(_state_file(artifact, root))
    return "/".join(filter(None, [known["entity"], known["project"], known["id"]])) if known.get("recorded") else ""


def read_state(path: Path) -> dict[str, Any]:
    """Read which W&B run a folder or an artifact belongs to; {} if there is none."""
    try:
        known = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) and {"project", "entity", "id"} <= known.keys() else {}


def hand_over(folder: Path) -> None:
    """Hand what this rank recorded to the rank that has the W&B run open."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    write_text(folder / _HANDED_OVER, json.dumps({"launch": _launch(), "recorded": _to_hand_over}))
    _to_hand_over.clear()


def take_over(folder: Path) -> None:
    """Record the first rank's artifacts in the run that this rank has open.

    Call it after the first rank has ended.
    """
    if _open is None:
        return
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            left = json.loads(read_text(folder / _HANDED_OVER))
            if left["launch"] == _launch():
                for root, name, version, aliases in left["recorded"]:
                    record(read_version(Path(root), name, version), Path(root), aliases)
                return
        time.sleep(0.5)


def _launch() -> list[str | None]:
    """Identify this launch of the processes, to ignore files of earlier ones."""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_RESTART_COUNT")
    return [os.environ.get(name) for name in names]


def _begin(target: Target, state: Path, folder: Path, name: str, job_type: str, config: dict[str, Any]) -> "Run | None":
    known = read_state(state)
    number = os.environ.get("WANDB_RUN_ID") or (known["id"] if _is_of(known, target) else secrets.token_hex(4))

    with _only_warn("This run is not recorded in W&B"):
        from nemotron.lineage import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode = "offline" if target.mode == "offline" or target.unreachable else "online"
        run = wandb.begin(target, number, mode, folder=folder, name=name, job_type=job_type, config=config)
        run.keep(state)
        print(f"W&B: {run.where()}", file=sys.stderr)
        return run
    return None


def _record(run: "Run", artifact: Artifact, root: Path, aliases: Sequence[str]) -> None:
    with _only_warn(f"{artifact.reference} is recorded in {root}, but not in W&B"):
        run.use(artifact.inputs, root, artifact.input_digests)
        run.log(artifact, root, aliases)
        run.keep(_state_file(artifact, root), recorded=True)


def _is_of(known: Mapping[str, Any], target: Target) -> bool:
    """Tell whether the W&B run that a folder or an artifact has is in this project."""
    return bool(known) and (known["project"], known["entity"]) == (target.project, target.entity)


def _state_file(artifact: Artifact, root: Path) -> Path:
    return root / artifact.name / "wandb" / f"v{artifact.version}.json"


@contextlib.contextmanager
def _only_warn(what: str) -> Iterator[None]:
    """Call an outside service inside; a failure is logged and never stops the work."""
    try:
        yield
    except Exception as error:
        _log.warning("%s: %s", what, mask_text(str(error) or type(error).__name__))
