"""Render the top of the report: the figures, and what is worth a look."""

from collections.abc import Iterator

from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.notes import NoteKind
from nemotron.data_prep.output.metadata import DatasetStats, Metadata
from nemotron.data_prep.report.tables import Html, count, name, paragraph, section, share, text, things

CHOSEN = {str(reason) for reason in (LeftOut.NOT_SAMPLED, LeftOut.BLEND_WEIGHT, LeftOut.FILTERED)}
"""Reasons for which the settings leave out rows that are not at fault."""
MANY = 0.01
"""If a larger share of the rows is lost, the data or the settings are wrong, not single rows."""
MOST_REASONS = 5
LITTLE = 0.02
"""If a smaller share of a dataset's tokens is supervised, its answers may be in a field that is not read."""
LOW_FILL, MANY_PACKS = 0.9, 20
"""With fewer packs, the low fill comes from the last pack."""
OFF = 0.01
"""A share that differs by more than this from the requested one is reported."""


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
            "Supervised tokens are those the trainer learns to predict. A percentage of supervised tokens refers to"
            " the tokens in the same line, without padding."
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
    overlong, datasets = metadata.overlong, metadata.datasets
    if overlong.lost_supervised_share > 0:
        yield (
            f"{overlong.lost_supervised_share:.1%} of the supervised tokens did not fit into {overlong.limit:,} tokens:"
            f" {overlong.truncated:,} conversations cut, {overlong.dropped:,} dropped. {_link('lengths')}"
        )
    lost = {reason: dropped for reason, dropped in _count_lost(metadata).items() if dropped > rows * MANY}
    for reason, dropped in [*lost.items()][:MOST_REASONS]:
        yield f"{things(dropped, 'row')} ({share(dropped, rows)}) dropped as {name(reason)}. {_link('dropped')}"
    if len(lost) > MOST_REASONS:
        left = things(len(lost) - MOST_REASONS, "more reason")
        yield f"{left} cost more than {MANY:.0%} of the rows each. {_link('dropped')}"
    if gone := [one for one in datasets if one.rows and not one.kept]:
        yield f"Nothing is left of {_some(gone)}. {_link('datasets')}"
    if poor := [one for one in datasets if one.supervised_tokens < LITTLE * one.tokens]:
        yield f"Less than {LITTLE:.0%} of the tokens of {_some(poor)} are supervised. {_link('datasets')}"
    if off := [one for one in datasets if one.asked is not None and abs((one.got or 0.0) - one.asked) > OFF]:
        yield f"The shares of {_some(off)} are not those that the blend asks for. {_link('blend')}"
    duplicates = sum(one.duplicates for one in datasets)
    if duplicates and not _count_lost(metadata).get(str(LeftOut.DUPLICATE)):
        yield f"{things(duplicates, 'conversation')} repeat an earlier one word for word. {_link('duplicates')}"
    for split in metadata.splits:
        if split.fill < LOW_FILL and split.packs >= MANY_PACKS:
            yield f"The packs of {name(split.name)} are only {split.fill:.1%} full. {_link('packs')}"
    empty = sum(note.rows for one in datasets for note in one.notes if note.kind == NoteKind.EMPTY_ANSWER)
    if empty:
        yield f"In {things(empty, 'row')} an answer is empty. {_link('noticed')}"


def _link(anchor: str) -> str:
    return f'<a href="#{anchor}">{anchor.capitalize()}</a>'


def _count_lost(metadata: Metadata) -> dict[str, int]:
    """Count the rows that are at fault by reason, the most frequent first."""
    lost: dict[str, int] = {}
    for dataset in metadata.datasets:
        for reason, dropped in dataset.dropped.items():
            if reason not in CHOSEN:
                lost[reason] = lost.get(reason, 0) + dropped
    return dict(sorted(lost.items(), key=lambda entry: -entry[1]))


def _some(datasets: list[DatasetStats]) -> str:
    named = ", ".join(name(dataset.title) for dataset in datasets[:3])
    return f"{named} and {len(datasets) - 3:,} more datasets" if len(datasets) > 3 else named
