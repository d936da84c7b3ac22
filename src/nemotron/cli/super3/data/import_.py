"""Run `nemotron super3 data import`: register packed Parquet made elsewhere."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, options
from nemotron.cli.interrupts import stops_at_once

if TYPE_CHECKING:
    from nemotron.data_prep.imports.register import Registered

PREPARED = "SFTDataArtifact-sft"
"""The artifact that `sft` uses by default (run.data in config/default.yaml)."""


def import_(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", callback=options.expand_paths, help="Folder with train/ and valid/, or with splits/."
        ),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the artifact.")] = PREPARED,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            metavar="ID|DIR",
            callback=options.expand_paths,
            help="Tokenizer that was used, if it is not recorded.",
        ),
    ] = None,
    pack_size: Annotated[
        int | None,
        typer.Option("--pack-size", min=1, metavar="N", help="Pack size that was used, if it is not recorded."),
    ] = None,
    pad_to_multiple: Annotated[
        int | None,
        typer.Option("--pad-to-multiple", min=1, metavar="N", help="Padding of each sequence, if it is not recorded."),
    ] = None,
    artifacts: options.Artifacts = None,
) -> None:
    """Register packed Parquet made elsewhere, such as by NVIDIA's public recipe.

    Every row is checked: columns, mask, boundaries, sizes. Nothing is copied or changed.

    \b
    Examples:
      nemotron super3 data import output/stage1_sft
      nemotron super3 data import /data/packed --tokenizer /models/super --pack-size 4096
    """
    from nemotron.data_prep.imports.register import register_data

    configs.use_env_file()
    with stops_at_once(), console.Progress() as progress:
        registered = register_data(
            folder,
            name=name,
            artifacts=options.artifacts_root(artifacts),
            tokenizer=tokenizer,
            pack_size=pack_size,
            pad_to_multiple=pad_to_multiple,
            on_progress=lambda done, total: progress.update("check", done, total, "bytes"),
        )
    _show(registered, artifacts)


def _show(registered: "Registered", artifacts: Path | None) -> None:
    console.heading("Registered")
    header = ("split", "packs", "sequences", "tokens", "supervised", "fill")
    rows = [
        (
            split,
            *(f"{count:,}" for count in (each.packs, each.sequences, each.tokens)),
            f"{each.supervised_tokens / each.tokens:.1%}",
            f"{each.tokens / (each.packs * registered.pack_size):.1%}",
        )
        for split, each in registered.splits.items()
    ]
    console.table(rows, header=header, right=range(1, len(header)))
    for note in registered.notes:
        console.note(f"\n  {note}")
    guessed = " (from the longest pack; set it with --pack-size)" if registered.is_guessed else ""
    console.out()
    console.table(
        [
            ("data", str(registered.folder)),
            ("pack size", f"{registered.pack_size:,}{guessed}"),
            *([("tokenizer", registered.tokenizer)] if registered.tokenizer else []),
            ("artifact", registered.artifact.reference),
        ]
    )
    artifact = registered.artifact
    words = [
        *([] if artifact.name == PREPARED else [f"run.data={artifact.name}"]),
        *([] if registered.tokenizer else ["tokenizer.tokenizer_model=ID_OR_FOLDER"]),
        *([] if artifacts is None else [f"run.artifacts={os.fspath(artifacts)}"]),
    ]
    console.out()
    console.command("Next: ", ["nemotron", "super3", "sft", *words])
