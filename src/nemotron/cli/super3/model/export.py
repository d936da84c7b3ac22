"""Run `nemotron super3 model export`: a checkpoint as a folder for transformers."""

from pathlib import Path
from typing import Annotated

import typer

from nemotron.cli import configs, console, options
from nemotron.cli.interrupts import stops_at_once
from nemotron.cli.usage import UsageError
from nemotron.errors import UserError


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CHECKPOINT",
            callback=options.expand_paths,
            help="A run's output folder, or a Megatron checkpoint.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            callback=options.expand_paths,
            help="Folder to write; default: hf or adapter in the run's folder.",
        ),
    ] = None,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Export only the LoRA adapters, for peft, not the merged model.")
    ] = False,
    hf_model: Annotated[
        str | None,
        typer.Option(
            "--hf-model",
            metavar="ID|DIR",
            callback=options.expand_paths,
            help="Model whose config.json describes this one; default: the run's.",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            metavar="ID|DIR",
            callback=options.expand_paths,
            help="Tokenizer to export; default: the one used in training.",
        ),
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="ORG/NAME", help="Also upload it to this repository on the hub.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="With --push: make the repository private.")] = False,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="BRANCH", help="With --push: upload to this branch instead of main."),
    ] = None,
    artifacts: options.Artifacts = None,
) -> None:
    """Export a checkpoint for transformers, with tokenizer and chat template.

    The newest iteration is exported. LoRA adapters are merged into the model that they were trained on; --adapter
    writes only the adapters, for peft. A checkpoint with anything but data is refused, because loading it would run its
    author's code.

    \b
    Examples:
      nemotron super3 model export output/super3/sft
      nemotron super3 model export output/super3/lora --adapter
      nemotron super3 model export output/super3/sft --push my-team/super-sft --private
      nemotron super3 model export /checkpoints/iter_0000200 -o /models/mine --hf-model /models/base
    """
    from nemotron.doctor import refuse_without_training
    from nemotron.training.checkpoints.newest import find_checkpoint
    from nemotron.training.checkpoints.run_record import find_saving_run
    from nemotron.training.weights.export_adapter import check_adapters_of, export_adapter
    from nemotron.training.weights.export_hf import export_hf
    from nemotron.training.weights.export_run import record_export
    from nemotron.training.weights.push import Destination, check_destination
    from nemotron.training.weights.push import push as push_folder

    if push is None and (private or revision is not None):
        option = "--private" if private else "--revision"
        raise UsageError(f"{option} works only with --push.", f"Add --push ORG/NAME, or remove {option}.")
    configs.use_env_file()
    refuse_without_training()
    found = find_checkpoint(checkpoint)
    if adapter:
        check_adapters_of(found)
    iteration, saved_by = found.folder, find_saving_run(found.folder)
    run = saved_by.folder
    if output is None and run is None:
        raise UserError(f"{iteration} is not in a run's output folder.", "Give the folder to write: --output DIR")
    described = hf_model or saved_by.hf_model
    if described is None:
        raise UserError(
            f"{iteration} does not record which Hugging Face model it is.",
            "Give one of the same architecture: --hf-model ID|DIR",
        )
    words = tokenizer or found.tokenizer or described
    target = output or (run or iteration) / ("adapter" if adapter else "hf")
    to = None if push is None else Destination(push, private, revision)
    if to is not None:
        check_destination(to)
    console.note(f"Exporting {iteration}.")
    export = export_adapter if adapter else export_hf
    with (
        stops_at_once(continues=False),
        console.show_work("write the adapters" if adapter else "convert the weights") as progress,
    ):
        export(found, target, described, words)
        progress.wait_for("record the artifact")
        artifact = record_export(iteration, target, options.artifacts_root(artifacts), adapter=adapter)
    console.heading("Exported")
    made = ("adapters for peft", f"{target}, of {described}") if adapter else ("Hugging Face copy", str(target))
    console.table(
        [("checkpoint", str(iteration)), made, ("tokenizer", words), ("artifact", artifact.reference)],
    )
    if to is not None:
        console.note(f"Uploading {target} to {to.repo}.")
        try:
            with stops_at_once(continues=False):  # the hub's library shows its own bars
                address = push_folder(target, to)
        except (KeyboardInterrupt, SystemExit):
            console.note(f"The export in {target} is whole. To upload it: {to.command(target)}")
            raise
        console.heading("Pushed")
        console.table([("repository", to.repo), ("branch", to.revision or "main"), ("commit", address)])
    if not adapter:
        console.out()
        console.command("Next: ", ["nemotron", "super3", "model", "chat", str(target)])
