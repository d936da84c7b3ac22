"""Print what data prep made: per dataset, per split, and notes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nemotron.cli import console

if TYPE_CHECKING:
    from nemotron.data_prep.output.metadata import Metadata, Place
    from nemotron.data_prep.pipeline import PrepResult
    from nemotron.data_prep.plan import PrepPlan

MANY = 0.01
"""Share of all rows: if one reason drops more than this, the settings are more likely at fault than the rows."""
SHOWN_NOTES = 20
"""The most notes to print; there may be many fields."""


def show_prepared(result: "PrepResult") -> None:
    """Print what data prep made, per dataset and per split, and where it is."""
    metadata = result.metadata
    already = "Already prepared from the same inputs and settings (--force starts again)"
    console.heading(already if result.unchanged else "Prepared")
    _show_datasets(metadata)
    console.out()
    _show_splits(metadata)
    _show_modes(metadata)
    _show_dropped(metadata)
    _show_noticed(metadata)
    for note in _notes(metadata, result.plan):
        console.note(f"\n  {note}")
    if result.encoder is not None and result.encoder.reason:
        console.note(f"\n  Encoded with {result.encoder.name}, which is slower: {result.encoder.reason}.")
    console.out()
    console.table(
        [
            ("data", str(result.splits_dir)),
            ("report", str(result.splits_dir.parent / "report.html")),
            ("artifact", result.artifact.reference),
        ]
    )


def _show_datasets(metadata: "Metadata") -> None:
    repeats = any(stats.repeated for stats in metadata.datasets)
    header = ("dataset", "rows", "kept", *(["used"] if repeats else []), "dropped", "tokens", "supervised", "fill")
    rows = [
        (
            stats.title,
            *(f"{count:,}" for count in (stats.rows, stats.kept)),
            *([f"{stats.kept + stats.repeated:,}"] if repeats else []),
            *(f"{count:,}" for count in (stats.rows - stats.kept, stats.tokens)),
            _share(stats.supervised_tokens, stats.tokens),
            "-" if stats.fill is None else f"{stats.fill:.1%}",
        )
        for stats in metadata.datasets
    ]
    console.table(rows, header=header, right=range(1, len(header)))


def _show_splits(metadata: "Metadata") -> None:
    header = ("split", "conversations", "packs", "tokens", "fill", "supervised")
    rows = [
        (
            split.name,
            *(f"{count:,}" for count in (split.conversations, split.packs, split.tokens)),
            f"{split.fill:.1%}",
            _share(split.supervised_tokens, split.tokens),
        )
        for split in metadata.splits
    ]
    console.table(rows, header=header, right=range(1, len(header)))


def _show_modes(metadata: "Metadata") -> None:
    """Print the reasoning modes, if any were chosen."""
    rows = [
        (
            stats.title,
            mode.mode,
            *(f"{count:,}" for count in (mode.conversations, mode.sequences, mode.supervised_tokens)),
            *("-" if share is None else f"{share:.1%}" for share in (mode.asked, mode.got)),
        )
        for stats in metadata.datasets
        for mode in stats.modes
    ]
    if any(row[1] not in ("no_reasoning", "on") for row in rows):
        console.out()
        header = ("dataset", "reasoning", "conversations", "sequences", "supervised tokens", "asked", "got")
        console.table(rows, header=header, right=range(2, 7))


def _show_dropped(metadata: "Metadata") -> None:
    """Print why rows are missing, most frequent first, and from which datasets."""
    from nemotron.data_prep.drop_reasons import describe

    dropped: dict[str, dict[str, int]] = {}
    for stats in metadata.datasets:
        for reason, count in stats.dropped.items():
            dropped.setdefault(reason, {})[stats.title] = count
    if dropped:
        console.out()
        rows = [
            (reason, f"{sum(counts.values()):,}", describe(reason), _by_dataset(counts))
            for reason, counts in sorted(dropped.items(), key=lambda entry: -sum(entry[1].values()))
        ]
        console.table(rows, header=("dropped", "rows", "because", "of"), right=[1])


def _show_noticed(metadata: "Metadata") -> None:
    """Print what was noticed in kept rows, most frequent first, and where."""
    from nemotron.data_prep.notes import describe_kind

    found = [(stats, note) for stats in metadata.datasets for note in stats.notes]
    found.sort(key=lambda entry: -entry[1].rows)
    if not found:
        return
    rows = [
        (note.title, f"{note.rows:,}", describe_kind(note.kind), stats.title, _places(note.places))
        for stats, note in found[:SHOWN_NOTES]
    ]
    console.out()
    console.table(rows, header=("noticed", "rows", "meaning", "of", "first"), right=[1])
    if len(found) > SHOWN_NOTES:
        console.note(f"  {len(found) - SHOWN_NOTES:,} more are in metadata.json, under notes.")


def _places(places: "list[Place]") -> str:
    """Format places: `chat.jsonl:3, chat.jsonl:5`."""
    return ", ".join(f"{place['file']}:{place['line']}" for place in places)


def _notes(metadata: "Metadata", plan: "PrepPlan") -> Iterator[str]:
    """Yield what else to know before training on the data."""
    if plan.blend.missing:
        from nemotron.data_prep.sources.blend_table import describe_missing

        yield f"{describe_missing(plan.blend)}. See: nemotron super3 data blend show {plan.blend.path}"
    if plan.blend.unused_keys:
        yield f"The blend has keys that have no effect here: {', '.join(plan.blend.unused_keys)}."
    if plan.tokenizer.changes:
        yield f"The tokenizer does not keep all text: it makes {plan.tokenizer.changes}. The model learns only that."
    yield from _low_effort_note(metadata)
    yield from _overlong_note(metadata)
    yield from _lost_rows(metadata)
    duplicates = sum(stats.duplicates for stats in metadata.datasets)
    if duplicates and not plan.config.dedupe:
        counts = {stats.title: stats.duplicates for stats in metadata.datasets if stats.duplicates}
        yield (
            f"{duplicates:,} conversations are identical to an earlier one ({_by_dataset(counts)}); dedupe=true would "
            "keep the first of each."
        )
    for stats in metadata.datasets:
        if stats.weight is not None and not stats.kept:
            yield f"{stats.title} has the weight {stats.weight:g} but no conversations."
    made = {split.name for split in metadata.splits}
    if "train" not in made:
        yield "There is no training split, so nothing can be trained on this data."
    asked = zip(("valid", "test"), plan.ratios[1:], strict=True)
    for name in [name for name, ratio in asked if ratio > 0 and name not in made and "train" in made]:
        yield f"The {name} split is empty, because there are too few different conversations."


def _low_effort_note(metadata: "Metadata") -> Iterator[str]:
    low = metadata.low_effort
    if low["got"] < low["asked"] - 0.001:
        yield (
            f"Low effort makes {low['got']:.1%} of the conversations, not the {low['asked']:.1%} of "
            'reasoning.low_effort, because datasets with "reasoning": {"effort": "low"} have no more.'
        )


def _overlong_note(metadata: "Metadata") -> Iterator[str]:
    """Describe what did not fit, and the setting that would keep it."""
    overlong = metadata.overlong
    if overlong.lost_supervised_share <= 0:
        return
    more = overlong.pack_size_for_99_percent
    settings = [f"pack_size={more}"] if more > metadata.pack_size else []
    if overlong.limit < metadata.pack_size and more > overlong.limit:
        settings = ["max_doc_tokens=null", *settings] if settings else [f"max_doc_tokens={more}"]
    lost = (
        f"{overlong.lost_supervised_share:.1%} of the supervised tokens did not fit into {overlong.limit:,} tokens "
        f"({overlong.truncated:,} conversations cut, {overlong.dropped:,} dropped)."
    )
    yield f"Sequences truncated excessively: {lost} {' '.join(settings)} would keep 99 %." if settings else lost


def _lost_rows(metadata: "Metadata") -> Iterator[str]:
    """Yield notes on many dropped rows that suggest another template."""
    rows = sum(stats.rows for stats in metadata.datasets)
    lost = {
        reason: sum(stats.dropped.get(reason, 0) for stats in metadata.datasets)
        for reason in ("template_mismatch", "no_assistant_tokens")
    }
    rendered = f"the chat template {metadata.chat_template['name']} with the tokenizer {metadata.tokenizer['model']}"
    if lost["template_mismatch"] > rows * MANY:
        yield (
            f"Template rendering mismatch: {lost['template_mismatch']:,} of {rows:,} rows "
            f"({lost['template_mismatch'] / rows:.1%}) do not show in {rendered} what the assistant says and where it "
            "ends. Try chat_template=nemotron3, or inspect the rows: nemotron super3 data inspect FILE"
        )
    if lost["no_assistant_tokens"] > rows * MANY:
        yield (
            f"Empty sequences after processing: in {lost['no_assistant_tokens']:,} of {rows:,} rows "
            f"({lost['no_assistant_tokens'] / rows:.1%}) no token of an answer would train with {rendered}."
        )


def _by_dataset(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
