"""Run `nemotron super3 model import`: a Hugging Face folder as a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from nemotron.cli import console


def import_(
    folder: Annotated[Path, typer.Argument(metavar="HF_FOLDER", help="Holds config.json and *.safetensors.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The checkpoint to write; a new folder.")
    ],
    no_mtp: Annotated[
        bool, typer.Option("--no-mtp", help="Leave the multi-token-prediction layers out, for a folder without them.")
    ] = False,
) -> None:
    """Make the checkpoint that fine-tuning starts from, out of a Hugging Face model.

    Only its config.json and safetensors are read: pickles (pytorch_model.bin) and Python in the folder are not.

    \b
    Examples:
      nemotron super3 model import /models/super-hf -o /models/super-megatron
      nemotron super3 sft checkpoint.pretrained_checkpoint=/models/super-megatron
    """
    from nemotron.doctor import refuse_without_training
    from nemotron.training.weights.import_hf import import_hf

    refuse_without_training()
    console.note(f"Importing {folder}.")
    checkpoint = import_hf(folder, output, mtp=not no_mtp).absolute()
    console.heading("Imported")
    console.table([("checkpoint", str(checkpoint))])
    console.heading("Next")
    without = " model.mtp_num_layers=null" if no_mtp else ""
    console.table([("fine-tune it", f"nemotron super3 sft checkpoint.pretrained_checkpoint={checkpoint}{without}")])
