"""Render the whole page, from top to bottom."""

from pathlib import Path

from nemotron.data_prep.output.examples import Examples
from nemotron.data_prep.output.metadata import Metadata
from nemotron.data_prep.report.lengths import render_lengths, render_packs
from nemotron.data_prep.report.mix import (
    render_blend,
    render_checks,
    render_datasets,
    render_modes,
    render_roles,
    render_splits,
)
from nemotron.data_prep.report.overview import render_overview
from nemotron.data_prep.report.rows import (
    render_dropped,
    render_duplicates,
    render_ignored,
    render_noticed,
    render_sequences,
)
from nemotron.html_page import page_end, page_start
from nemotron.printable import printable

STYLE = Path(__file__).with_name("page.css")
CONTENTS = {
    "datasets": "datasets",
    "blend": "blend",
    "roles": "roles",
    "splits": "splits",
    "lengths": "lengths",
    "packs": "packs",
    "dropped": "dropped rows",
    "noticed": "noticed",
    "ignored": "ignored fields",
    "duplicates": "duplicates",
    "modes": "reasoning modes",
    "checks": "checks",
    "sequences": "longest and shortest",
}
"""The sections that the page links to, by anchor."""


def render_report(metadata: Metadata, examples: Examples) -> str:
    """Return the report as a complete HTML document, without scripts.

    Args:
        metadata: The counts of the run.
        examples: The examples to show.
    """
    sections = "".join(
        [
            render_datasets(metadata),
            render_blend(metadata),
            render_roles(metadata),
            render_splits(metadata),
            render_lengths(metadata),
            render_packs(metadata),
            render_dropped(metadata, examples),
            render_noticed(metadata),
            render_ignored(metadata),
            render_duplicates(metadata, examples),
            render_modes(metadata),
            render_checks(metadata),
            render_sequences(metadata, examples),
        ]
    )
    links = " ".join(
        f'<a href="#{anchor}">{words}</a>'
        for anchor, words in CONTENTS.items()
        if f'<section id="{anchor}"' in sections
    )
    title = f"Prepared data {printable(metadata.config_name, one_line=True)[:80]}"
    start = page_start(title, STYLE.read_text(encoding="utf-8"))
    return f"{start}<nav>{links}</nav>{render_overview(metadata)}{sections}{page_end()}"
