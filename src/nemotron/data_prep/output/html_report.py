"""report.html: metadata.json to look at.

One file, no scripts, nothing loaded from elsewhere.
"""

from collections.abc import Iterable, Sequence
from html import escape

from nemotron.data_prep.drop_reasons import describe
from nemotron.data_prep.notes import describe_kind
from nemotron.data_prep.output.metadata import Metadata, NoteStats
from nemotron.html_page import html_page


def render_report(metadata: Metadata) -> str:
    """Return the report as a complete HTML document."""
    sections = [
        _summary(metadata),
        _section("Splits", _split_table(metadata)),
        _section("Datasets", _dataset_table(metadata)),
        _section("Reasoning modes", _mode_table(metadata)),
        _section("Checks of domains", _check_table(metadata)),
        _section("Rows that are not in the output", _dropped_table(metadata)),
        _section("Noticed in rows", _note_table(metadata)),
        _section("Sequence lengths", _length_plot(metadata)),
        _section("Over-long conversations", _overlong(metadata)),
    ]
    return html_page(f"Prepared data {metadata.config_name} ({metadata.run_hash})", "".join(sections))


def _section(heading: str, content: str) -> str:
    return f"<h2>{heading}</h2>{content}"


def _summary(metadata: Metadata) -> str:
    share = metadata.supervised_tokens / metadata.tokens
    return (
        f"<p>{metadata.conversations:,} conversations, {metadata.tokens:,} tokens, {share:.1%} of them supervised, "
        f"in packs of {metadata.pack_size:,} ({escape(metadata.algorithm)}). "
        f"Tokenizer {escape(metadata.tokenizer['model'])}, chat template {escape(metadata.chat_template['name'])}, "
        f"blend {escape(metadata.blend)}.</p>"
    )


def _split_table(metadata: Metadata) -> str:
    header = ("split", "conversations", "sequences", "packs", "tokens", "supervised", "fill", "shards")
    return _table(
        header,
        (
            (
                split.name,
                *_counts(split.conversations, split.sequences, split.packs, split.tokens),
                f"{split.supervised_tokens / split.tokens:.1%}",
                f"{split.fill:.2%}",
                str(len(split.shards)),
            )
            for split in metadata.splits
        ),
    )


def _dataset_table(metadata: Metadata) -> str:
    header = (
        "dataset", "rows", "kept", "dropped", "repeated", "duplicates", "truncated", "tokens",
        "conversations", "supervised",
    )  # fmt: skip
    return _table(
        header,
        (
            (
                dataset.name,
                *_counts(dataset.rows, dataset.kept, dataset.rows - dataset.kept, dataset.repeated),
                *_counts(dataset.duplicates, dataset.truncated, dataset.tokens),
                f"{dataset.conversation_share:.1%}",
                f"{dataset.supervised_share:.1%}",
            )
            for dataset in metadata.datasets
        ),
    )


def _mode_table(metadata: Metadata) -> str:
    header = ("dataset", "mode", "conversations", "sequences", "supervised tokens", "asked", "got")
    return _table(
        header,
        (
            (
                dataset.title,
                mode.mode,
                *_counts(mode.conversations, mode.sequences, mode.supervised_tokens),
                *("-" if share is None else f"{share:.2%}" for share in (mode.asked, mode.got)),
            )
            for dataset in metadata.datasets
            for mode in dataset.modes
        ),
        text_columns=(1,),
    )


def _check_table(metadata: Metadata) -> str:
    rows = [
        (dataset.title, check.check, check.found, f"{check.conversations:,}", f"{check.share:.1%}")
        for dataset in metadata.datasets
        for check in dataset.checks
    ]
    header = ("dataset", "check", "found", "conversations", "share")
    return _table(header, rows, text_columns=(1, 2)) if rows else "<p>The blend asks for none.</p>"


def _dropped_table(metadata: Metadata) -> str:
    rows = [
        (dataset.name, reason, f"{count:,}", describe(reason))
        for dataset in metadata.datasets
        for reason, count in dataset.dropped.items()
    ]
    return _table(("dataset", "reason", "rows", "meaning"), rows, text_columns=(1, 3)) if rows else "<p>None.</p>"


def _note_table(metadata: Metadata) -> str:
    rows = [
        (dataset.title, note.title, f"{note.rows:,}", describe_kind(note.kind), _place(note))
        for dataset in metadata.datasets
        for note in dataset.notes
    ]
    header = ("dataset", "noticed", "rows", "meaning", "first")
    return _table(header, rows, text_columns=(1, 3, 4)) if rows else "<p>Nothing.</p>"


def _place(note: NoteStats) -> str:
    return f"{note.places[0]['file']}:{note.places[0]['line']}"


def _overlong(metadata: Metadata) -> str:
    overlong = metadata.overlong
    return (
        f"<p>Limit {overlong.limit:,} tokens, policy {escape(overlong.policy)}: {overlong.truncated:,} conversations "
        f"shortened, {overlong.dropped:,} dropped, {overlong.lost_supervised_share:.2%} of the supervised tokens lost. "
        f"A pack size of {overlong.pack_size_for_99_percent:,} would keep 99 %.</p>"
    )


def _length_plot(metadata: Metadata) -> str:
    """Return a bar per power of two, as inline SVG, and the quantiles."""
    most = max(count for _, count in metadata.length_histogram)
    width, height, step = 60 * len(metadata.length_histogram), 160, 60
    bars = []
    for position, (longest, count) in enumerate(metadata.length_histogram):
        tall, left = count / most * height, position * step + 5
        bars.append(
            f'<rect class="bar" x="{left}" y="{height - tall + 20:.1f}" width="{step - 10}" height="{tall:.1f}"/>'
            f'<text x="{left}" y="{height - tall + 15:.1f}">{count:,}</text>'
            f'<text x="{left}" y="{height + 36}">{longest:,}</text>'
        )
    quantiles = ", ".join(f"{name} {value:,}" for name, value in metadata.sequence_lengths.items())
    return (
        f'<svg width="{width}" height="{height + 45}" role="img" aria-label="sequences by length">{"".join(bars)}</svg>'
        f"<p>Sequences of at most so many tokens (and more than the bar before): {quantiles}.</p>"
    )


def _counts(*numbers: int) -> list[str]:
    return [f"{number:,}" for number in numbers]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: tuple[int, ...] = ()) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="text">{escape(cell)}</td>' if column in text_columns else f"<td>{escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
