"""Run `nemotron super3 model import`: import a starting model as an artifact."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, options
from nemotron.cli.interrupts import stops_at_once
from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.training.weights.pretrained import Imported
    from nemotron.training.weights.source import Source

PRETRAINED = "ModelArtifact-pretrain"
"""The artifact that `sft` uses by default (run.model in config/default.yaml)."""


def import_(
    model: Annotated[
        str,
        typer.Argument(
            metavar="HF_ID|FOLDER",
            callback=options.expand_paths,
            help="A Hugging Face id or folder, or a Megatron checkpoint.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            callback=options.expand_paths,
            help="The checkpoint to write; default: in output/models.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the artifact.")] = PRETRAINED,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="REV", help="Branch, tag or commit of an id.")
    ] = None,
    no_mtp: Annotated[bool, typer.Option("--no-mtp", help="Leave out the multi-token-prediction layers.")] = False,
    artifacts: options.Artifacts = None,
) -> None:
    """Make the model that fine-tuning starts from, and record it as an artifact.

    A Hugging Face model is converted to a Megatron checkpoint. Only its config.json and safetensors are read, but no
    pickles (pytorch_model.bin) and no Python. A Megatron checkpoint is registered in place, without copying.

    \b
    Examples:
      nemotron super3 model import nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16
      nemotron super3 model import /models/super-hf -o /models/super-megatron
      nemotron super3 model import /checkpoints/iter_0010000 --name ModelArtifact-mine
    """
    from nemotron.doctor import refuse_without_training
    from nemotron.training.weights.pretrained import import_model
    from nemotron.training.weights.source import find_source

    configs.use_env_file()
    root = options.artifacts_root(artifacts)
    source = find_source(model, revision, mtp=not no_mtp)
    if not source.is_megatron:
        refuse_without_training()
    console.note(f"Registering {source.folder}." if source.is_megatron else f"Importing {source.name}.")
    with (
        stops_at_once(continues=False),
        console.show_work("record the model" if source.is_megatron else "convert the weights"),
    ):
        imported = import_model(source, output, name=name, artifacts=root, mtp=not no_mtp)
    _show(source, imported, without_mtp=no_mtp, artifacts=artifacts)


def _show(source: "Source", imported: "Imported", *, without_mtp: bool, artifacts: Path | None) -> None:
    done = "Registered" if source.is_megatron else "Imported already" if imported.was_there else "Imported"
    console.heading(done)
    artifact = imported.artifact
    rows = [("checkpoint", str(imported.checkpoint)), ("from", source.name), ("artifact", artifact.reference)]
    console.table(rows)
    words = [
        *([] if artifact.name == PRETRAINED else [f"run.model={artifact.name}"]),
        *([] if source.is_megatron or source.model == _documented_model() else [f"recipe.hf_model={source.model}"]),
        *(["model.mtp_num_layers=null"] if without_mtp else []),
        *([] if artifacts is None else [f"run.artifacts={artifacts}"]),
    ]
    console.out()
    console.command("Next: ", ["nemotron", "super3", "sft", *words])


def _documented_model() -> str | None:
    """Return recipe.hf_model of config/default.yaml."""
    try:
        return configs.load_sft("default", []).config.recipe.hf_model
    except UserError:
        return None
