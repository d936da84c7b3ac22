"""Render dropped and repeated rows and notes on rows, with examples."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nemotron.data_prep.drop_reasons import describe
from nemotron.data_prep.notes import NoteKind, describe_kind
from nemotron.data_prep.output.examples import Examples
from nemotron.data_prep.output.metadata import Metadata, NoteStats
from nemotron.data_prep.report.masked_text import render_chunks
from nemotron.data_prep.report.tables import Html, count, name, paragraph, section, share, table, text, things, unfold

IGNORED = (NoteKind.UNUSED_ROW_FIELD, NoteKind.UNUSED_MESSAGE_FIELD, NoteKind.TEMPLATE_KWARGS)
"""Notes about parts of a row that are not used."""
MOST_DATASETS = 8
"""Datasets to list for each reason, and for duplicates."""


def render_dropped(metadata: Metadata, examples: Examples) -> Html:
    """Return the reasons for dropped rows, with examples to unfold."""
    rows = sum(one.rows for one in metadata.datasets)
    counts: Counter[str] = Counter()
    for one in metadata.datasets:
        counts.update(one.dropped)
    reasons = [
        unfold(
            f"<b>{name(reason)}</b> {things(lost, 'row')} ({share(lost, rows)}): {text(describe(reason))}",
            *_examples(reason, examples),
            table(("dataset", "rows"), _by_dataset(metadata, reason), more="datasets", most=MOST_DATASETS),
        )
        for reason, lost in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    every = (
        paragraph("dropped.jsonl.zst, next to metadata.json in the run's folder, lists all of them.") if reasons else ""
    )
    return section("dropped", "Dropped rows", every, *(reasons or [paragraph("None.")]))


def render_noticed(metadata: Metadata) -> Html:
    """Return the notes on rows, which do not drop them."""
    found = [(one.title, note) for one in metadata.datasets for note in one.notes if note.kind not in IGNORED]
    return section("noticed", "Noticed in rows", _notes(found) or paragraph("Nothing."))


def render_ignored(metadata: Metadata) -> Html:
    """Return the fields of rows that are not used."""
    found = [(one.title, note) for one in metadata.datasets for note in one.notes if note.kind in IGNORED]
    return section("ignored", "Ignored fields", _notes(found) or paragraph("None: everything in the rows is used."))


def render_duplicates(metadata: Metadata, examples: Examples) -> Html:
    """Return the numbers of repeated conversations, and the most frequent ones."""
    rows = [
        (one.title, count(one.duplicates), count(one.dropped.get("duplicate", 0)))
        for one in sorted(metadata.datasets, key=lambda one: -one.duplicates)
        if one.duplicates
    ]
    repeated = [
        unfold(f"{one.get('count', 1):,} times, first at {_place(one)}", *render_chunks(one["chunks"]))
        for one in examples.sequences
        if one["kind"] == "repeated"
    ]
    found = table(
        ("dataset", "identical to an earlier one", "dropped for it"), rows, more="datasets", most=MOST_DATASETS
    )
    heading = "<h3>The most frequent</h3>" if repeated else ""
    return section("duplicates", "Duplicates", found or paragraph("None."), heading, *repeated)


def render_sequences(metadata: Metadata, examples: Examples) -> Html:
    """Return the longest and the shortest conversations, with what trains."""
    content = [paragraph('What trains is <span class="trains">coloured</span>.')] if examples.sequences else []
    for kind in ("longest", "shortest"):
        found = [one for one in examples.sequences if one["kind"] == kind]
        content += [f"<h3>The {kind}</h3>" if found else ""]
        content += [
            unfold(_about(one), '<div class="sequence">', *render_chunks(one["chunks"]), "</div>", is_open=number == 0)
            for number, one in enumerate(found)
        ]
    return section("sequences", "Longest and shortest", *content)


def _about(one: Mapping[str, Any]) -> str:
    cut = f" (cut: it has {one['uncut']:,})" if one["uncut"] > one["tokens"] else ""
    return f"{one['tokens']:,} tokens{cut}, {one['supervised_tokens']:,} supervised: {_place(one)}"


def _examples(reason: str, examples: Examples) -> Iterator[str]:
    """Yield the examples of a reason: rows and tokenized conversations."""
    for row in examples.dropped:
        if row["reason"] == reason:
            yield f'<p class="place">{_place(row)}</p><p class="note">{text(row["detail"])}</p>'
            yield f"<pre>\n{text(row['text'])}</pre>" if row["text"] else ""
    for one in examples.sequences:
        if one["kind"] == "dropped" and one.get("reason") == reason:
            yield f'<p class="place">{_place(one)}, {one["uncut"]:,} tokens</p>'
            yield from render_chunks(one["chunks"])


def _by_dataset(metadata: Metadata, reason: str) -> list[tuple[str, str]]:
    found = [(one.title, one.dropped[reason]) for one in metadata.datasets if reason in one.dropped]
    return [(title, count(lost)) for title, lost in sorted(found, key=lambda entry: -entry[1])]


def _notes(found: Iterable[tuple[str, NoteStats]]) -> Html:
    """Return a table of notes, the most frequent first.

    A line counts the rows of all datasets.
    """
    alike: dict[tuple[str, str], list[tuple[str, NoteStats]]] = defaultdict(list)
    for title, note in found:
        alike[note.kind, note.name].append((title, note))
    counted = [(sum(note.rows for _, note in several), several) for several in alike.values()]
    rows = [
        (
            *(several[0][1].title, count(total), describe_kind(several[0][1].kind)),
            _some([title for title, _ in sorted(several, key=lambda one: -one[1].rows)]),
            _places(several[0][1]),
        )
        for total, several in sorted(counted, key=lambda one: -one[0])
    ]
    return table(("noticed", "rows", "meaning", "datasets", "first"), rows, text_columns=[2, 3, 4], more="lines")


def _some(titles: list[str]) -> Html:
    more = f" and {len(titles) - 2:,} more" if len(titles) > 2 else ""
    return Html(", ".join(map(name, titles[:2])) + more)


def _places(note: NoteStats) -> Html:
    return Html(f"{text(note.places[0]['file'], 120)}:{note.places[0]['line']}" if note.places else "")


def _place(row: Mapping[str, Any]) -> str:
    return f"{name(row['dataset'])} {text(row['file'], 160)}:{row['line']}"
