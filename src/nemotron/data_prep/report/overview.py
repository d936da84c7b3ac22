"""The top of the report: the figures, and what is worth a look."""

from collections.abc import Iterator

from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.output.metadata import DatasetStats, Metadata
from nemotron.data_prep.report.tables import Html, count, name, paragraph, section, share, text, things

CHOSEN = {str(reason) for reason in (LeftOut.NOT_SAMPLED, LeftOut.BLEND_WEIGHT, LeftOut.FILTERED)}
"""Rows that the settings leave out, with nothing wrong about them."""
MANY = 0.01
"""Of all rows: more of them lost is a fault of the data or the settings rather than of some rows."""
LOW_FILL = 0.9
OFF = 0.01
"""A share that differs by more from what was asked for is worth a word."""


def render_overview(metadata: Metadata) -> Html:
    """Return the figures of a run, its settings, and what is worth a look."""
    rows = sum(dataset.rows for dataset in metadata.datasets)
    lost = rows - sum(dataset.kept for dataset in metadata.datasets)
    packs = sum(split.packs for split in metadata.splits)
    filled = metadata.tokens + metadata.padding
    figures = {
        "conversations": count(metadata.conversations),
        "sequences": count(sum(split.sequences for split in metadata.splits)),
        "packs": count(packs),
        "tokens": count(metadata.tokens),
        "supervised tokens": _with_share(metadata.supervised_tokens, metadata.tokens),
        "fill of packs": share(filled, packs * metadata.pack_size),
        "rows read": count(rows),
        "rows dropped": _with_share(lost, rows),
    }
    cells = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in figures.items())
    remarks = "".join(f"<li>{remark}</li>" for remark in _remarks(metadata, rows))
    looks = f'<ul class="remarks">{remarks}</ul>' if remarks else paragraph("Nothing out of the ordinary was found.")
    return Html(
        f'<dl class="figures">{cells}</dl>'
        + paragraph(
            "Supervised tokens are those the trainer learns to predict; a percentage of what is supervised"
            " is of the tokens of the same line, without padding."
        )
        + paragraph(
            f"Packs of {metadata.pack_size:,} tokens ({name(metadata.algorithm)}), tokenizer"
            f" {text(metadata.tokenizer['model'], 200)}, chat template {name(metadata.chat_template['name'])}, blend"
            f" {text(metadata.blend, 200)}, run {name(metadata.run_hash)}."
        )
        + section("look", "Worth a look", looks)
    )


def _with_share(part: int, whole: int) -> str:
    return f"{part:,} <small>{share(part, whole)}</small>"


def _remarks(metadata: Metadata, rows: int) -> Iterator[str]:
    overlong = metadata.overlong
    if overlong.lost_supervised_share > 0:
        yield (
            f"{overlong.lost_supervised_share:.1%} of the supervised tokens did not fit into {overlong.limit:,} tokens:"
            f' {overlong.truncated:,} conversations cut, {overlong.dropped:,} dropped. <a href="#lengths">Lengths</a>'
        )
    for reason, lost in _lost(metadata).items():
        if lost > rows * MANY:
            lost_rows = f"{things(lost, 'row')} ({share(lost, rows)})"
            yield f'{lost_rows} dropped as {name(reason)}. <a href="#dropped">Dropped rows</a>'
    for dataset in metadata.datasets[:1000]:
        if dataset.rows and not dataset.kept:
            yield f'Nothing is left of {name(dataset.title)}. <a href="#datasets">Datasets</a>'
    off = [one for one in metadata.datasets if one.asked is not None and abs((one.got or 0.0) - one.asked) > OFF]
    if off:
        yield f'{_some(off)} got another share than the blend asks for. <a href="#blend">Blend</a>'
    duplicates = sum(one.duplicates for one in metadata.datasets)
    if duplicates and not _lost(metadata).get(str(LeftOut.DUPLICATE)):
        yield f'{duplicates:,} conversations are identical to an earlier one. <a href="#duplicates">Duplicates</a>'
    for split in metadata.splits:
        if split.fill < LOW_FILL and split.packs > 1:
            yield f'The packs of {name(split.name)} are only {split.fill:.1%} full. <a href="#packs">Packs</a>'
    empty = sum(note.rows for one in metadata.datasets for note in one.notes if note.kind == "empty_answer")
    if empty:
        yield f'In {things(empty, "row")} an answer is empty. <a href="#noticed">Noticed in rows</a>'


def _lost(metadata: Metadata) -> dict[str, int]:
    """Count the rows that something is wrong with, by reason, the most frequent first."""
    lost: dict[str, int] = {}
    for dataset in metadata.datasets:
        for reason, dropped in dataset.dropped.items():
            if reason not in CHOSEN:
                lost[reason] = lost.get(reason, 0) + dropped
    return dict(sorted(lost.items(), key=lambda entry: -entry[1]))


def _some(datasets: list[DatasetStats]) -> str:
    named = ", ".join(name(dataset.title) for dataset in datasets[:3])
    return f"{named} and {len(datasets) - 3:,} more datasets" if len(datasets) > 3 else named
