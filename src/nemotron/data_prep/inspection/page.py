"""Write rows or packs as one HTML page, with a filter and a search.

Training text is coloured. The page loads nothing from elsewhere.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nemotron.data_prep.drop_reasons import describe
from nemotron.data_prep.inspection.packs import describe_origin
from nemotron.data_prep.notes import describe_kind
from nemotron.data_prep.report.masked_text import as_html, render_chunks
from nemotron.files.atomic_files import replace_when_complete
from nemotron.html_page import page_end, page_start
from nemotron.printable import printable

HERE = Path(__file__).parent
FORM = (
    '<form hidden><input name="search" type="search" placeholder="search ( / )" aria-label="search">'
    '<select name="dataset" aria-label="dataset"><option value="">all datasets</option></select>'
    '<select name="outcome" aria-label="outcome"><option value="">all outcomes</option></select>'
    '<select name="role" aria-label="role"><option value="">all roles</option></select>'
    '<output name="count"></output></form>'
    "<p>What trains is coloured. Keys: <kbd>j</kbd> next, <kbd>k</kbd> previous, <kbd>/</kbd> search.</p>"
)


def write_page(path: Path, title: str, shown: Iterable[dict[str, Any]]) -> int:
    """Write a page row by row, and return the number of rows.

    Args:
        path: The file to write; it appears once it is complete.
        title: Plain text.
        shown: What inspect_file, inspect_dataset or inspect_packs yield.
    """
    count = 0
    with replace_when_complete(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(page_start(printable(title), (HERE / "page.css").read_text(encoding="utf-8")) + FORM)
        for item in shown:
            count += 1
            file.writelines(_pack(item) if "pack" in item else _row(item))
        file.write(f"<script>\n{(HERE / 'page.js').read_text(encoding='utf-8')}</script>" + page_end())
    return count


def _row(row: dict[str, Any]) -> Iterator[str]:
    outcome = row["reason"] or row["outcome"]
    dataset = row.get("dataset")
    yield _article(dataset, outcome)
    yield f"<h2>{as_html(f'{dataset} line' if dataset else 'line')} {row['line']}</h2>"
    if row["outcome"] == "dropped":
        yield _note(f"dropped, {describe(row['reason'])} ({row['reason']})")
    for text in (row["detail"], row["mode_reason"] if row["mode"] not in (None, "on", "no_reasoning") else None):
        yield _note(text) if text else ""
    for note in row["notes"]:
        yield _note(f"{note['name'] or note['kind']}: {describe_kind(note['kind'])}")
    for number, chunks in enumerate(row["sequences"], start=1):
        which = f"sequence {number} of {len(row['sequences'])}, " if len(row["sequences"]) > 1 else ""
        yield f"<h3>{which}{_counts(chunks)}</h3>"
        yield from render_chunks(chunks, 0)
    yield "</article>\n"


def _pack(pack: dict[str, Any]) -> Iterator[str]:
    where = " ".join(part for part in (pack["split"], pack["shard"]) if part)
    datasets = {sequence["dataset"] for sequence in pack["sequences"]}
    yield _article(datasets.pop() if len(datasets) == 1 else None, None)
    yield f"<h2>{as_html(where)} pack {pack['pack']}: {pack['tokens']:,} tokens</h2>"
    for sequence in pack["sequences"]:
        padding = f", {sequence['padding']:,} padding" if sequence["padding"] else ""
        place = f"{describe_origin(sequence)}, at {sequence['start']:,}"
        yield f"<h3>{as_html(place)}: {_counts(sequence['chunks'])}{padding}</h3>"
        yield from render_chunks(sequence["chunks"], sequence["start"])
    yield "</article>\n"


def _article(dataset: str | None, outcome: str | None) -> str:
    attributes = "".join(
        f' data-{name}="{as_html(value)}"' for name, value in (("dataset", dataset), ("outcome", outcome)) if value
    )
    return f'<article tabindex="-1"{attributes}>'


def _counts(chunks: list[dict[str, Any]]) -> str:
    tokens = sum(chunk["tokens"] or 0 for chunk in chunks)
    return f"{tokens:,} tokens, {sum(chunk['supervised_tokens'] or 0 for chunk in chunks):,} train"


def _note(text: str) -> str:
    return f'<p class="note">{as_html(text)}</p>'
