"""Run `nemotron doctor`: what this machine has and lacks."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from nemotron.cli import console


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    no_hub: Annotated[bool, typer.Option("--no-hub", help="Do not try to reach the Hugging Face hub.")] = False,
) -> None:
    """Show what this machine has for data prep, training and launching.

    Each missing part comes with what it costs and what to do. Exit code 1 when a stage could not start.
    """
    from nemotron.doctor import examine

    findings = examine(hub=not no_hub)
    if as_json:
        console.raw(json.dumps({"parts": [asdict(finding) for finding in findings]}, indent=2))
    else:
        console.heading("This machine")
        console.table([(finding.part, finding.found or "missing") for finding in findings])
        if lacking := [finding for finding in findings if finding.cost]:
            console.heading("What to know")
        for finding in lacking:
            console.out(f"  {finding.part}: {finding.cost}.")
            console.out(f"    {finding.advice}")
    if any(finding.needed and not finding.found for finding in findings):
        raise typer.Exit(1)
