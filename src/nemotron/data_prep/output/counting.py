"""Count the rows that were kept or dropped, and the contents of the output."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nemotron.data_prep.config import SPLITS
from nemotron.data_prep.drop_reasons import LeftOut, describe
from nemotron.data_prep.notes import EXAMPLES
from nemotron.data_prep.output.counting_checks import count_checks, is_check
from nemotron.data_prep.output.counting_modes import count_modes, low_effort_share
from nemotron.data_prep.output.counting_roles import count_roles
from nemotron.data_prep.output.counting_shares import asked_shares
from nemotron.data_prep.output.distributions import count_distributions
from nemotron.data_prep.output.dropped_rows import DROPPED_ROWS
from nemotron.data_prep.output.metadata import DatasetStats, Metadata, NoteStats, OverlongStats, Place, SplitStats
from nemotron.data_prep.output.places import PartPlace, find_places_of
from nemotron.data_prep.packing.layout import PackedSplit, measure_fill
from nemotron.data_prep.packing.lengths import pad_length
from nemotron.data_prep.packing.shards import ShardReceipt
from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.overlong import Cut, find_limit_keeping
from nemotron.data_prep.selection.select import OUTCOMES, Selection
from nemotron.data_prep.tokenization.part_files import PartReceipt
from nemotron.errors import UserError


def collect_metadata(
    plan: PrepPlan,
    corpus: Corpus,
    receipts: Sequence[Sequence[PartReceipt]],
    cut: Cut,
    selection: Selection,
    packed: Sequence[PackedSplit],
) -> Metadata:
    """Count everything in a run but its shards, which `count_splits` adds.

    `receipts` are per dataset, `packed` per split.

    Raises:
        RuntimeError: A row was neither kept nor dropped. This is a bug, and the run must not count as finished.
    """
    copies = _count_copies(corpus, cut, selection)
    return Metadata(
        run_hash=plan.run_hash,
        pack_size=plan.config.pack_size,
        pad_to_multiple=plan.config.pad_to_multiple,
        algorithm=plan.config.algorithm,
        seed=plan.config.seed,
        special_tokens_in_content=plan.config.special_tokens_in_content,
        datasets=_count_datasets(plan, corpus, receipts, cut, selection, copies, packed),
        splits=[],
        overlong=_count_overlong(plan, corpus, cut, selection),
        distributions=count_distributions(corpus, cut, selection, [*packed], plan.config.pack_size),
        low_effort={
            "asked": plan.config.reasoning.low_effort,
            "got": low_effort_share(corpus, selection),
        },
        **name_inputs(plan),
    )


def name_inputs(plan: PrepPlan) -> dict[str, Any]:
    """Return the fields of Metadata that the run hash does not cover whole.

    They have names, and places of inputs.
    """
    return {
        "config_name": plan.config.config_name,
        "tokenizer": {
            "model": plan.tokenizer.name,
            "revision": plan.config.tokenizer.revision,
            "digest": plan.tokenizer.digest,
            "vocab_size": plan.tokenizer.vocab_size,
            "eos_id": plan.tokenizer.eos_id,
        },
        "chat_template": {"name": plan.template.name, "digest": plan.template.digest},
        "blend": str(plan.blend.path),
    }


def count_splits(
    plan: PrepPlan, corpus: Corpus, cut: Cut, selection: Selection, shards: Sequence[Sequence[ShardReceipt]]
) -> list[SplitStats]:
    """Count what is in each split that has shards; `shards` are per split."""
    copies = _count_copies(corpus, cut, selection)
    return [
        _count_split(plan, number, corpus, cut, selection, copies, made) for number, made in enumerate(shards) if made
    ]


def _count_copies(corpus: Corpus, cut: Cut, selection: Selection) -> np.ndarray:
    """Count how often each sequence is in the output: int64 [sequences]."""
    return np.where(cut.length > 0, selection.copies[corpus.conversation], 0).astype(np.int64)


def ensure_something_trains(plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]], selection: Selection) -> None:
    """Raise UserError if no conversation is left, with the reasons."""
    if selection.kept.any():
        return
    parts = [receipt for per_dataset in receipts for receipt in per_dataset]
    rows = sum(receipt.rows for receipt in parts)
    if rows == 0:
        raise UserError(f"The datasets of {plan.blend.path} are empty: no rows.", "Check blend_path and its paths.")
    reasons = Counter(str(OUTCOMES[code]) for code in selection.outcome.tolist())
    for receipt in parts:
        reasons.update(receipt.dropped)
    listed = "; ".join(f"{count} x {reason}: {describe(reason)}" for reason, count in sorted(reasons.items()))
    rendered = f"chat_template ({plan.template.name}, with the tokenizer {plan.tokenizer.name})"
    raise UserError(
        f"Empty sequences after processing: There are no assistant tokens to train on: all {rows} rows of "
        f"{plan.blend.path} were dropped ({listed}).",
        f"To list each row and its reason: zstdcat {plan.run_dir / DROPPED_ROWS}. Check messages_field, "
        f"used_in_filter, {rendered} and pack_size.",
    )


def _count_overlong(plan: PrepPlan, corpus: Corpus, cut: Cut, selection: Selection) -> OverlongStats:
    too_long = selection.outcome == OUTCOMES.index(LeftOut.OVERLONG)
    considered = (selection.kept | too_long)[corpus.conversation]
    all_targets = corpus.targets[considered].sum()
    limit_for_99_percent = np.array(find_limit_keeping(corpus, 0.99, considered))
    return OverlongStats(
        policy=plan.config.overlong,
        limit=plan.limit,
        truncated=int((_find_truncated(corpus, cut) & selection.kept).sum()),
        dropped=int(too_long.sum()),
        lost_supervised_share=float(1 - cut.targets[considered].sum() / all_targets),
        pack_size_for_99_percent=int(pad_length(limit_for_99_percent, plan.config.pad_to_multiple)),
    )


def _count_datasets(
    plan: PrepPlan,
    corpus: Corpus,
    receipts: Sequence[Sequence[PartReceipt]],
    cut: Cut,
    selection: Selection,
    copies: np.ndarray,
    packed: Sequence[PackedSplit],
) -> list[DatasetStats]:
    count = len(plan.datasets)
    dataset = corpus.dataset
    fill = measure_fill(corpus, packed, plan.config.pack_size, count)
    kept = np.bincount(dataset[selection.kept], minlength=count)
    duplicates = np.bincount(dataset[selection.duplicates], minlength=count)
    truncated = np.bincount(dataset[_find_truncated(corpus, cut) & selection.kept], minlength=count)
    masked = _count_masked(corpus, selection, count)
    used = np.bincount(dataset, selection.copies, count)
    dataset_of_sequence = dataset[corpus.conversation]
    sequences = np.bincount(dataset_of_sequence, copies, count)
    tokens = np.bincount(dataset_of_sequence, copies * cut.length, count)
    supervised = np.bincount(dataset_of_sequence, copies * cut.targets, count)
    roles = count_roles(corpus, cut, copies, count)
    asked = asked_shares([planned.dataset for planned in plan.datasets], plan.config.reasoning.low_effort)
    goes_to = [planned.dataset.goes_to for planned in plan.datasets]
    stats = []
    for number, planned in enumerate(plan.datasets):
        dropped = _count_dropped(receipts[number], selection.outcome[corpus.of_dataset(number)[0]])
        rows = sum(receipt.rows for receipt in receipts[number])
        noticed = _notes(find_places_of(plan, number, receipts[number]), receipts[number])
        left_out = sum(dropped.values())
        of_split = sum(used[other] for other in range(count) if goes_to[other] == goes_to[number])
        if rows != kept[number] + left_out:
            name = planned.dataset.name
            raise RuntimeError(f"dataset {name}: {rows} rows, but {kept[number]} kept and {left_out} dropped")
        stats.append(
            DatasetStats(
                name=planned.dataset.name,
                goes_to=planned.dataset.goes_to,
                weight=planned.dataset.weight,
                files=len(planned.files),
                bytes=planned.bytes,
                rows=rows,
                kept=int(kept[number]),
                repeated=int(used[number] - kept[number]),
                dropped=dropped,
                duplicates=int(duplicates[number]),
                notes=[note for note in noticed if not is_check(note)],
                truncated=int(truncated[number]),
                masked_sequences=int(masked[number]),
                sequences=int(sequences[number]),
                tokens=int(tokens[number]),
                supervised_tokens=int(supervised[number]),
                roles=roles[number],
                asked=asked[number],
                got=float(used[number] / of_split) if of_split else None,
                conversation_share=float(used[number] / used.sum()),
                share_of_supervised=float(supervised[number] / supervised.sum()),
                modes=count_modes(plan, number, corpus, cut, selection, copies),
                checks=count_checks(planned.dataset.checks or (), noticed, number, corpus, plan.config.pack_size),
                fill=None if np.isnan(fill[number]) else float(fill[number]),
            )
        )
    return stats


def _notes(parts: Iterable[PartPlace], receipts: Sequence[PartReceipt]) -> list[NoteStats]:
    """Add up the notes of all parts of a dataset.

    Receipts number lines from the start of their part.
    """
    rows: Counter[tuple[str, str]] = Counter()
    places: dict[tuple[str, str], list[Place]] = {}
    for part, receipt in zip(parts, receipts, strict=True):
        for note in receipt.notes:
            key = note.kind, note.name
            rows[key] += note.rows
            found = places.setdefault(key, [])
            for line in note.lines[: EXAMPLES - len(found)]:
                place = part.of(line)
                found.append({"file": place["file"], "line": place["line"]})
    keys = sorted(rows, key=lambda key: (key[0], -rows[key], key[1]))
    return [NoteStats(*key, rows[key], places[key]) for key in keys]


def _count_dropped(receipts: Sequence[PartReceipt], outcomes: np.ndarray) -> dict[str, int]:
    """Count dropped rows by reason, the most frequent first.

    Rows are dropped while tokenizing or when conversations are selected.
    """
    counts: dict[str, int] = {}
    for receipt in receipts:
        for reason, count in receipt.dropped.items():
            counts[reason] = counts.get(reason, 0) + count
    for code, reason in enumerate(OUTCOMES):
        if reason is not None and (count := int((outcomes == code).sum())):
            counts[str(reason)] = counts.get(str(reason), 0) + count
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _count_masked(corpus: Corpus, selection: Selection, datasets: int) -> np.ndarray:
    """Count the sequences of kept conversations in which nothing would train.

    int64 [datasets]; they were left out when they were tokenized.
    """
    masked = np.zeros(datasets, np.int64)
    for part in corpus.each_part():
        masked[part.dataset] += corpus.read_index(part).masked_counts[selection.kept[part.conversations]].sum()
    return masked


def _find_truncated(corpus: Corpus, cut: Cut) -> np.ndarray:
    """Return a mask, bool [conversations], of those that did not fit completely."""
    shorter = np.zeros(corpus.conversations, bool)
    shorter[corpus.conversation[cut.length < corpus.length]] = True
    return shorter


def _count_split(
    plan: PrepPlan,
    number: int,
    corpus: Corpus,
    cut: Cut,
    selection: Selection,
    copies: np.ndarray,
    shards: Sequence[ShardReceipt],
) -> SplitStats:
    in_split = selection.split == number
    copies = copies * in_split[corpus.conversation]
    packs, filled = sum(shard.packs for shard in shards), sum(shard.tokens for shard in shards)
    tokens = int((copies * cut.length).sum())
    return SplitStats(
        name=SPLITS[number],
        path=f"splits/{SPLITS[number]}",
        conversations=int(selection.copies[in_split].sum()),
        sequences=int(copies.sum()),
        packs=packs,
        tokens=tokens,
        padding=filled - tokens,
        supervised_tokens=int((copies * cut.targets).sum()),
        fill=filled / (packs * plan.config.pack_size),
        shards=list(shards),
    )
