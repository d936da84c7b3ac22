"""Import a starting model as an artifact.

A Hugging Face model is converted; a Megatron checkpoint is registered in place.
"""

import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nemotron import lineage
from nemotron.errors import UserError
from nemotron.files.regular_files import read_text
from nemotron.lineage import MANIFEST, Artifact
from nemotron.lineage.digest import compute_digest
from nemotron.training.weights.import_hf import import_hf
from nemotron.training.weights.source import Source


@dataclass(frozen=True)
class Imported:
    """An imported model."""

    artifact: Artifact
    checkpoint: Path
    was_there: bool
    """Whether an earlier import had already converted it."""


def import_model(source: Source, output: Path | None, *, name: str, artifacts: Path, mtp: bool = True) -> Imported:
    """Convert a model, unless it is a Megatron checkpoint, and record it as `name`.

    Args:
        source: The model.
        output: The folder of the checkpoint; None: `models/NAME` in the output folder. A Megatron checkpoint stays
            where it is.
        name: The name of the artifact.
        artifacts: Folder of the artifact records.
        mtp: False omits the multi-token-prediction layers.

    Raises:
        UserError: The output folder is not empty, weights are missing, or the conversion failed.
    """
    lineage.check_name(name)
    lineage.check_root(artifacts)
    if source.is_megatron and output is not None:
        raise UserError(
            f"{source.folder} is a Megatron checkpoint, which is registered in place; nothing is written to {output}.",
            "Remove --output.",
        )
    facts = {"source": source.name, "hf_model": None if source.is_megatron else source.model, "mtp": mtp}
    facts |= {"revision": source.revision, "source_digest": compute_digest(source.folder)}
    if not source.is_megatron:
        facts["converted_with"] = f"megatron-bridge {version('megatron-bridge')}"
    target = source.folder if source.is_megatron else output or _default_folder(source)
    was_there = not source.is_megatron and _is_made_from(target, facts)
    if not source.is_megatron and not was_there:
        import_hf(source.folder, target, mtp=mtp)
    artifact = lineage.log_artifact(
        name=name,
        type="model",
        path=target,
        root=artifacts,
        metadata=facts,
        inputs=_inputs(source),
        input_digests={source.name: facts["source_digest"]},
    )
    return Imported(artifact, target.absolute(), was_there)


def _inputs(source: Source) -> list[str]:
    """Return the inputs of the artifact.

    A checkpoint that is registered in place has its run as input.
    """
    if not source.is_megatron:
        return [source.name]
    run = source.folder.parent
    return [str(run)] if (run / MANIFEST).is_file() else []


def _default_folder(source: Source) -> Path:
    return Path(os.environ.get("NEMO_RUN_DIR", "output"), "models", source.model.rstrip("/").rsplit("/", 1)[-1])


def _is_made_from(target: Path, facts: dict[str, Any]) -> bool:
    """Tell whether a folder was made by the same import."""
    try:
        made = json.loads(read_text(target / MANIFEST))["metadata"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(made, dict) and all(made.get(key) == facts[key] for key in ("source", "source_digest", "mtp"))
