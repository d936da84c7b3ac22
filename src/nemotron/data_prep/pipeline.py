"""Data prep as a whole, in the order in which it happens.

plan        find and identify the inputs; name the output after everything that decides it
tokenize    every part of every file: rows -> conversations -> chunks -> tokens and mask
select      over-long, duplicates, sample, shares of the blend, splits: once, over small arrays
pack        every shard of every split: lengths -> packs -> gathered and rolled -> Parquet
count       every input row is kept or dropped for a named reason, or the run is not called done
publish     replace the output as a whole, and record the artifact
"""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from omegaconf import OmegaConf

from nemotron.data_prep import engine
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.corpus import Corpus, load_corpus
from nemotron.data_prep.dropped import write_dropped
from nemotron.data_prep.files import remove_unfinished, sole_writer, write_bytes, write_json
from nemotron.data_prep.metadata import Metadata, collect_metadata, read_metadata
from nemotron.data_prep.outcomes import describe
from nemotron.data_prep.overlong import Cut, cut_overlong
from nemotron.data_prep.packing import pack
from nemotron.data_prep.plan import Plan, make_plan
from nemotron.data_prep.publish import publish
from nemotron.data_prep.selection import OUTCOMES, Selection, select
from nemotron.data_prep.shards import (
    Gathering,
    ShardReceipt,
    ShardWork,
    padded_length,
    read_shard_receipt,
    shard_count,
    write_shard,
)
from nemotron.data_prep.splits import SPLITS
from nemotron.data_prep.token_parts import PartReceipt, read_receipt
from nemotron.data_prep.tokenize_part import TokenizeWork, tokenize_part
from nemotron.errors import UserError
from nemotron.lineage import Artifact


class Progress(Protocol):
    """Called as work is done. `done` and `total` count `unit`; a stage ends when they are equal."""

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None: ...


@dataclass(frozen=True)
class PrepResult:
    """What a run made."""

    plan: Plan
    metadata: Metadata
    splits_dir: Path
    """The folder with train/, valid/ and test/."""
    artifact: Artifact
    unchanged: bool
    """Whether it was there already: same inputs, same settings, nothing to do."""


def prepare(config: DataPrepConfig, *, on_progress: Progress | None = None) -> PrepResult:
    """Prepare the data that `config` names. A run that was killed is completed; a finished one is left as it is.

    Raises UserError for what the user can mend: wrong settings, missing or unreadable inputs, nothing to train on,
    an output folder in use or full.
    """
    progress = on_progress or _silent
    plan = make_plan(config)
    with _write_errors(), sole_writer(plan.output_dir):
        metadata = None if config.force else _finished(plan)
        unchanged = metadata is not None
        if metadata is None:
            _begin(plan)
            receipts = _tokenize(plan, progress)
            corpus = _load(plan, receipts)
            cut, selection = _select(plan, receipts, corpus)
            shards = _pack(plan, corpus, cut, selection, progress)
            metadata = collect_metadata(plan, corpus, receipts, cut, selection, shards)
            write_dropped(plan, receipts, corpus, selection)
            write_json(plan.run_dir / "metadata.json", metadata.to_dict())
        artifact = publish(plan, metadata)
    return PrepResult(plan, metadata, plan.output_dir / "splits", artifact, unchanged)


def _silent(stage: str, done: int, total: int, unit: str) -> None:
    pass


@contextlib.contextmanager
def _write_errors() -> Iterator[None]:
    """A full disk or a folder that cannot be written is the user's to mend."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise UserError(
            f"Cannot write{where}: {error.strerror or error}.", "Mend that and run again: finished work is kept."
        ) from error


def _finished(plan: Plan) -> Metadata | None:
    """The metadata of an earlier run with the same hash, if it finished and its files are still there."""
    metadata = read_metadata(plan.run_dir / "metadata.json")
    if metadata is None:
        return None
    for split in metadata.splits:
        for shard in split.shards:
            path = plan.run_dir / split.path / shard.file
            if not path.is_file() or path.stat().st_size != shard.bytes:
                return None
    return replace(metadata, config_name=plan.config.config_name)  # the one thing in it that the hash leaves out


def _begin(plan: Plan) -> None:
    """Write down what will be done; under `force`, forget what was."""
    if plan.config.force:
        shutil.rmtree(plan.run_dir, ignore_errors=True)
        for planned in plan.datasets:
            for file in planned.files:
                shutil.rmtree(file.folder, ignore_errors=True)
    remove_unfinished(plan.output_dir)
    write_bytes(plan.run_dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(asdict(plan.config))).encode())
    write_json(plan.run_dir / "plan.json", plan.to_dict())


def _tokenize(plan: Plan, progress: Progress) -> list[list[PartReceipt]]:
    """Tokenize every part that is not there yet. Returns the receipts of all parts, per dataset."""
    missing: dict[Path, TokenizeWork] = {}  # by output: files with the same content are tokenized once
    stages: dict[Path, str] = {}
    totals, done = Counter[str](), Counter[str]()
    for planned in plan.datasets:
        stage = f"tokenize {planned.dataset.name}"
        for file, part in planned.parts():
            output = file.output(part)
            totals[stage] += part.bytes
            if output in missing or read_receipt(output) is not None:
                done[stage] += part.bytes
            else:
                missing[output] = plan.tokenize_work(planned.dataset, file, part)
                stages[output] = stage
    for stage, total in totals.items():
        progress(stage, done[stage], total, "bytes")
    works = list(missing.values())

    def count(position: int, _: PartReceipt) -> None:
        work = works[position]
        stage = stages[work.output]
        done[stage] += work.part.bytes
        progress(stage, done[stage], totals[stage], "bytes")

    workers = _worthwhile(plan.workers, sum(work.part.bytes for work in works))
    engine.run(tokenize_part, plan.tokenization(), works, workers=workers, on_done=count)
    return [[_receipt(file.output(part)) for file, part in planned.parts()] for planned in plan.datasets]


def _worthwhile(workers: int, bytes_to_read: int) -> int:
    """Fewer workers for little work: one takes about a second to start, in which it could have read some megabytes."""
    return min(workers, 1 + bytes_to_read // (4 * 2**20))


def _receipt(output: Path) -> PartReceipt:
    receipt = read_receipt(output)
    if receipt is None:
        raise UserError(f"{output} has vanished while it was being used.", "Run again.")
    return receipt


def _load(plan: Plan, receipts: Sequence[Sequence[PartReceipt]]) -> Corpus:
    """The tokenized conversations. Raises UserError when there are none, saying what became of the rows."""
    outputs = [(p.output(part), number) for number, d in enumerate(plan.datasets) for p, part in d.parts()]
    corpus = load_corpus([output for output, _ in outputs], [number for _, number in outputs])
    if len(corpus.line):
        return corpus
    raise _nothing_left(plan, receipts, {})


def _nothing_left(plan: Plan, receipts: Sequence[Sequence[PartReceipt]], left_out: Mapping[str, int]) -> UserError:
    """The error for a run without a sequence: how many rows were dropped while reading, and `left_out` after."""
    parts = [receipt for per_dataset in receipts for receipt in per_dataset]
    rows = sum(receipt.rows for receipt in parts)
    if rows == 0:
        return UserError(f"The datasets of {plan.blend.path} are empty: no rows.", "Check the paths in the blend file.")
    reasons = sum((Counter(receipt.dropped) for receipt in parts), Counter(left_out))
    listed = "; ".join(f"{count} x {reason}: {describe(reason)}" for reason, count in sorted(reasons.items()))
    return UserError(
        f"There are no assistant tokens to train on: all {rows} rows of {plan.blend.path} were dropped ({listed}).",
        "Check messages_field, used_in_filter and pack_size; to see the rows: nemotron super3 data inspect FILE",
    )


def _select(plan: Plan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus) -> tuple[Cut, Selection]:
    """Which conversations are used, how much of each, and in which split."""
    config = plan.config
    cut = cut_overlong(corpus, plan.limit, config.overlong, plan.tokenizer.eos_id)
    selection = select(
        corpus,
        cut,
        [planned.dataset for planned in plan.datasets],
        ratios=plan.ratios,
        dedupe=config.dedupe,
        sample=config.sample,
        sample_seed=config.sample_seed,
        seed=config.seed,
        samples=config.blend.samples,
    )
    if not selection.kept.any():
        codes, counts = np.unique(selection.outcome, return_counts=True)
        reasons = {str(OUTCOMES[code]): int(count) for code, count in zip(codes, counts, strict=True)}
        raise _nothing_left(plan, receipts, reasons)
    return cut, selection


def _pack(plan: Plan, corpus: Corpus, cut: Cut, selection: Selection, progress: Progress) -> list[list[ShardReceipt]]:
    """Pack every split and write the shards that are not there yet. Returns all their receipts, per split."""
    per_split = [_shard_works(plan, corpus, cut, selection, split) for split in range(len(SPLITS))]
    works = [work for split_works in per_split for work in split_works]
    missing = [work for work in works if read_shard_receipt(work.path, work.receipt) is None]
    done = len(works) - len(missing)
    progress("pack", done, len(works), "shards")

    def count(position: int, receipt: ShardReceipt) -> None:
        nonlocal done
        done += 1
        progress("pack", done, len(works), "shards")

    config = plan.config
    gathering = Gathering(
        corpus.parts, plan.tokenizer.pad_id, config.pad_to_multiple, config.parquet_row_group_size,
        config.parquet_compression,
    )  # fmt: skip
    workers = _worthwhile(plan.workers, sum(work.bytes_to_read for work in missing))
    made = iter(engine.run(write_shard, gathering, missing, workers=workers, on_done=count))
    return [
        [read_shard_receipt(work.path, work.receipt) or next(made) for work in split_works] for split_works in per_split
    ]


def _shard_works(plan: Plan, corpus: Corpus, cut: Cut, selection: Selection, split: int) -> list[ShardWork]:
    """Pack one split and deal its packs out to shards."""
    config, name = plan.config, SPLITS[split]
    copies = np.where(selection.split == split, selection.copies, 0)[corpus.conversation] * (cut.length > 0)
    # Round by round, so that the copies of a conversation are not neighbours even where packing keeps the order.
    members = np.concatenate([np.flatnonzero(copies > done) for done in range(max(1, copies.max()))])
    lengths = padded_length(cut.length[members], config.pad_to_multiple)
    packs = pack(lengths, config.pack_size, config.algorithm, config.seed)
    works = []
    count = shard_count(len(packs), config.num_shards)
    for number, shard in enumerate(np.array_split(np.arange(len(packs)), count) if count else []):
        bounds = packs.bounds[shard[0] : shard[-1] + 2]
        chosen = members[packs.sequences[bounds[0] : bounds[-1]]]
        file = f"shard_{number:06d}"
        works.append(
            ShardWork(
                path=plan.run_dir / "splits" / name / f"{file}.parquet",
                receipt=plan.run_dir / "receipts" / name / f"{file}.json",
                part=corpus.part[chosen],
                start=corpus.start[chosen],
                length=cut.length[chosen],
                pack_bounds=bounds - bounds[0],
            )
        )
    return works
