"""The same record in Weights & Biases. The only module that imports wandb; imported only when W&B is configured."""

from collections.abc import Sequence
from pathlib import Path

import wandb

from nemotron.lineage.artifact import Artifact, read, version_file


def record(artifact: Artifact, *, root: Path, aliases: Sequence[str], project: str, entity: str | None) -> None:
    """Log `artifact` and its inputs to the active W&B run, or to one of its own.

    The files themselves stay where they are: W&B gets a reference to the folder, and the inputs' names as metadata.
    Online the inputs are also linked in W&B's lineage graph, which its client cannot do in offline mode.
    """
    active = wandb.run
    run = active or wandb.init(project=project, entity=entity, job_type=artifact.type, dir=str(root))
    sources = [] if run.offline else [_input(reference, root) for reference in artifact.inputs]
    for source in filter(None, sources):
        run.use_artifact(_described(source))
    run.log_artifact(_described(artifact), aliases=["latest", *aliases])
    if active is None:
        run.finish()


def _input(reference: str, root: Path) -> Artifact | None:
    """Find the record of an input; None for a plain path or URL, which the metadata holds."""
    name, _, label = reference.partition(":v")
    recorded = version_file(root, name, int(label)) if label.isdigit() else None
    return read(recorded) if recorded and recorded.is_file() else None


def _described(artifact: Artifact) -> wandb.Artifact:
    described = wandb.Artifact(
        artifact.name, artifact.type, metadata={**artifact.metadata, "inputs": artifact.inputs, "path": artifact.path}
    )
    described.add_reference(f"file://{artifact.path}", checksum=False)
    return described
