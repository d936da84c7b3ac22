"""Run `nemotron super3 data blend`: show a blend, and check its data."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, options
from nemotron.errors import UserError
from nemotron.printable import count_of

if TYPE_CHECKING:
    from nemotron.data_prep.sources.blend import Blend
    from nemotron.data_prep.sources.blend_table import DomainRow

BAR = 10
"""Characters of the longest bar."""

blend = typer.Typer(
    rich_markup_mode=None,
    help="Show a blend, and check that its data can be read.",
    epilog="Try it: nemotron super3 data blend show",
)
_File = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]", callback=options.expand_paths, help="A blend file; without it, the config's blend_path."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


@blend.command("show")
def show(
    file: _File = None,
    config: options.Config = "default",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            callback=options.expand_paths,
            help="The output_dir of a data prep, to show its real shares.",
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show the domains of a blend: documented, available and resulting shares.

    \b
    Examples:
      nemotron super3 data blend show
      nemotron super3 data blend show my_blend.json --data output/stage1_sft
      nemotron super3 data blend show --json | jq '.domains[] | select(.available | not) | .bring'
    """
    from nemotron.data_prep.sources.blend_table import coverage, domain_rows

    asked = _read(file, config)
    rows = domain_rows(asked, _got(data))
    if as_json:
        _out_json({"blend": str(asked.path), "coverage": coverage(asked), "domains": [asdict(row) for row in rows]})
        return
    _show_table(asked, rows)


@blend.command("check")
def check(file: _File = None, config: options.Config = "default", as_json: _Json = False) -> None:
    """Check that each dataset of a blend can be reached and its first row trained on.

    The exit code is 1 if one cannot.

    \b
    Examples:
      nemotron super3 data blend check
      nemotron super3 data blend check my_blend.json -c my_config.yaml --json
    """
    from nemotron.data_prep.blend_check import check_datasets
    from nemotron.data_prep.plan import make_admission

    asked = _read(file, config)
    settings = configs.load_prep(config, []).config
    found = []
    for result in check_datasets(asked, lambda dataset: make_admission(dataset, settings)):
        found.append(result)
        if not as_json:
            files = f"{count_of(result.files, 'file')}, {result.bytes / 1e6:,.1f} MB"
            console.out(f"  {result.name}: {result.problem or f'{files}, first row: {result.first_row}'}")
            if result.problem and result.hint:
                console.out(f"    {result.hint}")
    wrong = sum(result.problem is not None for result in found)
    if as_json:
        missing = [{"name": dataset.name, "bring": dataset.bring} for dataset in asked.missing]
        _out_json({"blend": str(asked.path), "datasets": [asdict(result) for result in found], "missing": missing})
    else:
        for dataset in asked.missing:
            console.out(f"  {dataset.name}: no data. {dataset.bring}")
        console.out(f"\n{len(found) - wrong} of {len(found)} datasets can be read.")
    if wrong:
        raise typer.Exit(1)


def _read(file: str | None, config: str) -> "Blend":
    from nemotron.data_prep.sources.blend import read_blend

    return read_blend(file if file is not None else configs.load_prep(config, []).config.blend_path)


def _got(folder: Path | None) -> dict[str, float] | None:
    """Read the shares of conversations in prepared data, by dataset.

    Raises:
        UserError: The folder has no prepared data.
    """
    if folder is None:
        return None
    from nemotron.data_prep.output.metadata import read_metadata

    metadata = read_metadata(folder / "metadata.json")
    if metadata is None:
        raise UserError(f"{folder} has no prepared data of this version.", "Give the output_dir of a data prep.")
    return {dataset.name: dataset.conversation_share for dataset in metadata.datasets}


def _show_table(asked: "Blend", rows: "list[DomainRow]") -> None:
    from nemotron.data_prep.sources.blend_table import coverage

    longest = max((row.asked or 0 for row in rows), default=0)
    header = ["domain", "asked", "", "data", "covered", "got", "scale"]
    right = [1, 4, 5]
    if all(row.got is None for row in rows):
        header.remove("got")
        right.remove(5)
    for group in dict.fromkeys((row.split, row.group) for row in rows):
        console.heading(", ".join(filter(None, group)) or "datasets")
        shown = [_cells(row, longest, "got" in header) for row in rows if (row.split, row.group) == group]
        console.table(shown, header=header, right=right)
    share = coverage(asked)
    if share is not None:
        console.out(f"\n{share:.0%} of the documented mix is covered.")
    for row in rows:
        if row.bring:
            console.note(f"  {row.domain}: {row.bring}")


def _cells(row: "DomainRow", longest: float, with_got: bool) -> list[str]:
    bar = "█" * round(BAR * (row.asked or 0) / longest) if longest else ""
    there = "yes" if row.available else "bring"
    cells = [row.domain, _percent(row.asked), bar or "▏", there, _percent(row.covered)]
    return [*cells, *([_percent(row.got)] if with_got else []), row.scale or ""]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _out_json(value: object) -> None:
    import json

    console.raw(json.dumps(value, ensure_ascii=False))
