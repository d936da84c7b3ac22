"""Data prep as a whole, in the order in which it happens.

plan        find and identify the inputs; name the output after everything that decides it
tokenize    every part of every file: rows -> conversations -> chunks -> tokens and mask
select      over-long, duplicates, sample, shares of the blend, splits: once, over small arrays
pack        every shard of every split: lengths -> packs -> gathered and rolled -> Parquet
count       every input row is kept or dropped for a named reason, or the run is not called done
publish     replace the output as a whole, and record the artifact
"""

import contextlib
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from omegaconf import OmegaConf

from nemotron.atomic_files import remove_unfinished, sole_writer, write_bytes, write_checksums, write_json
from nemotron.data_prep import engine, preload
from nemotron.data_prep.config import SPLITS, DataPrepConfig, check
from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.output.counting import collect_metadata, ensure_something_trains
from nemotron.data_prep.output.dropped_rows import write_dropped
from nemotron.data_prep.output.metadata import Metadata, read_metadata
from nemotron.data_prep.output.publish import publish
from nemotron.data_prep.packing.layout import Layout, lay_out, shard_works
from nemotron.data_prep.packing.shards import Gathering, ShardReceipt, finished_shard, row_group_size, write_shard
from nemotron.data_prep.plan import Plan, make_plan
from nemotron.data_prep.selection.corpus import Corpus, load_corpus
from nemotron.data_prep.selection.overlong import Cut, cut_overlong
from nemotron.data_prep.selection.select import Selection, select
from nemotron.data_prep.tokenization.part import TokenizeWork, tokenize_part
from nemotron.data_prep.tokenization.part_files import PartReceipt, is_intact, read_receipt
from nemotron.errors import UserError
from nemotron.lineage import Artifact


@dataclass(frozen=True)
class Stage:
    """How far a stage is; it ends when `done` and `total` are equal."""

    name: str
    done: int
    total: int
    unit: str
    """What `done` and `total` count."""
    made: Mapping[str, int] = field(default_factory=dict)
    """What this run has made in the stage so far, for rates: {"rows": ..., "tokens": ...}."""


class Progress(Protocol):
    """Called as work is done."""

    def __call__(self, stage: Stage, /) -> None: ...


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

    @property
    def has_training_split(self) -> bool:
        return any(split.name == "train" for split in self.metadata.splits)


def prepare(config: DataPrepConfig, *, on_progress: Progress | None = None) -> PrepResult:
    """Prepare the data that `config` names. A run that was killed is completed; a finished one is left as it is.

    Raises UserError for what the user can mend: wrong settings, missing or unreadable inputs, nothing to train on,
    an output folder in use or full.
    """
    check(config)
    preload.begin(config)
    with engine.start(config.engine, config.ray_address) as run:
        # A cluster is asked for nothing before there is something to do.
        plan = make_plan(config, run if config.engine == "local" else None)
        return _prepare(plan, run, on_progress or _silent)


def _prepare(plan: Plan, run: engine.Run, progress: Progress) -> PrepResult:
    with _write_errors(), sole_writer(plan.output_dir):
        metadata = None if plan.config.force else _finished(plan)
        unchanged = metadata is not None
        if metadata is None:
            _begin(plan)
            whole: set[Path] = set()
            while True:
                receipts = _tokenize(plan, run, progress, whole)
                corpus = _load(plan, receipts)
                cut, selection = _select(plan, corpus)
                if not (short := _short_of_sample(plan, receipts, corpus, selection)):
                    break
                plan = plan.with_more_candidates(short)
            write_dropped(plan, receipts, corpus, selection)
            ensure_something_trains(plan, receipts, selection)
            layouts = [lay_out(plan, corpus, cut, selection, split) for split in range(len(SPLITS))]
            shards = _write_shards(plan, corpus, cut, layouts, run, progress)
            metadata = collect_metadata(plan, corpus, receipts, cut, selection, layouts, shards)
            write_json(plan.run_dir / "metadata.json", metadata.to_dict())
            write_checksums(plan.run_dir)
        artifact = publish(plan, metadata)
    return PrepResult(plan, metadata, plan.output_dir / "splits", artifact, unchanged)


def _silent(stage: Stage) -> None:
    pass


@contextlib.contextmanager
def _write_errors() -> Iterator[None]:
    """A full disk, a folder that cannot be written and too little memory are the user's to mend."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise UserError(
            f"Cannot write{where}: {error.strerror or error}.", "Mend that and run again: finished work is kept."
        ) from error
    except MemoryError as error:
        detail = str(error).rstrip(".") or "an allocation failed"
        raise UserError(
            f"There is not enough memory: {detail}.",
            "Run again with fewer workers or a smaller pack_size; finished work is kept.",
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


def _tokenize(plan: Plan, run: engine.Run, progress: Progress, whole: set[Path]) -> list[list[PartReceipt]]:
    """Tokenize every part that is not there yet. Returns the receipts of all parts, per dataset.

    `whole` are the outputs that this run has checked or made before; those of all parts are added.
    """
    # By output: files with the same content are tokenized once.
    stages: dict[Path, str] = {}
    works: dict[Path, TokenizeWork] = {}
    for number, planned in enumerate(plan.datasets):
        for file, part in planned.parts():
            work = plan.tokenize_work(number, file, part)
            works.setdefault(work.output, work)
            stages.setdefault(work.output, f"tokenize {planned.dataset.name}")
    there = {work.output for work in works.values() if work.is_done()}
    kept = there & whole | _intact(plan, sorted(there - whole), run, progress)
    missing = [work for output, work in works.items() if output not in kept]
    totals, done = Counter[str](), Counter[str]()
    made: dict[str, Counter[str]] = {}
    for output, work in works.items():
        totals[stages[output]] += work.part.bytes
        done[stages[output]] += work.part.bytes * (output in kept)
    for stage in dict.fromkeys(stages[work.output] for work in missing):
        made[stage] = Counter()
        progress(Stage(stage, done[stage], totals[stage], "bytes"))

    def count(position: int, receipt: PartReceipt) -> None:
        work = missing[position]
        stage = stages[work.output]
        done[stage] += work.part.bytes
        made[stage].update(rows=receipt.rows, tokens=receipt.tokens)
        progress(Stage(stage, done[stage], totals[stage], "bytes", made[stage]))

    workers = engine.worthwhile(plan.workers, sum(work.part.bytes for work in missing))
    run(tokenize_part, plan.tokenization(), missing, workers=workers, on_done=count)
    whole.update(works)
    return [[_receipt(file.output(part)) for file, part in planned.parts()] for planned in plan.datasets]


def _intact(plan: Plan, outputs: Sequence[Path], run: engine.Run, progress: Progress) -> set[Path]:
    """Those of finished outputs that are still what an earlier run wrote: tokens must not rot in a cache."""
    sizes = [receipt.bytes if (receipt := read_receipt(output)) else 0 for output in outputs]
    done = 0

    def count(position: int, _: bool) -> None:
        nonlocal done
        done += sizes[position]
        progress(Stage("check the tokens of an earlier run", done, sum(sizes), "bytes"))

    intact = run(is_intact, None, outputs, workers=engine.worthwhile(plan.workers, sum(sizes) // 8), on_done=count)
    return {output for output, is_whole in zip(outputs, intact, strict=True) if is_whole}


def _receipt(output: Path) -> PartReceipt:
    receipt = read_receipt(output)
    if receipt is None:
        raise UserError(f"{output} has vanished while it was being used.", "Run again.")
    return receipt


def _load(plan: Plan, receipts: Sequence[Sequence[PartReceipt]]) -> Corpus:
    """The tokenized conversations."""
    outputs = [file.output(part) for planned in plan.datasets for file, part in planned.parts()]
    datasets = [number for number, of_dataset in enumerate(receipts) for _ in of_dataset]
    return load_corpus(outputs, list(itertools.chain.from_iterable(receipts)), datasets)


def _select(plan: Plan, corpus: Corpus) -> tuple[Cut, Selection]:
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
        low_effort=config.reasoning.low_effort,
    )
    return cut, selection


def _short_of_sample(
    plan: Plan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus, selection: Selection
) -> list[int]:
    """The datasets that have fewer conversations than the sample asks for, though not all of theirs were tokenized."""
    if plan.config.sample is None:
        return []
    kept = np.bincount(corpus.dataset[selection.kept], minlength=len(plan.datasets))
    left = [any(LeftOut.NOT_SAMPLED in receipt.dropped for receipt in of_dataset) for of_dataset in receipts]
    return [number for number in range(len(plan.datasets)) if left[number] and kept[number] < plan.config.sample]


def _write_shards(
    plan: Plan, corpus: Corpus, cut: Cut, layouts: Sequence[Layout], run: engine.Run, progress: Progress
) -> list[list[ShardReceipt]]:
    """Write the shards that are not there yet. Returns all their receipts, per split."""
    per_split = [list(shard_works(plan, corpus, cut, layout)) for layout in layouts]
    works = [work for split_works in per_split for work in split_works]
    receipts = [finished_shard(work) for work in works]
    missing = [work for work, receipt in zip(works, receipts, strict=True) if receipt is None]
    done, made = len(works) - len(missing), Counter[str]()
    progress(Stage("pack", done, len(works), "shards"))

    def count(position: int, receipt: ShardReceipt) -> None:
        nonlocal done
        done += 1
        made.update(packs=receipt.packs, tokens=receipt.tokens)
        progress(Stage("pack", done, len(works), "shards", made))

    config = plan.config
    gathering = Gathering(
        corpus.parts, plan.tokenizer.pad_id, config.pad_to_multiple,
        row_group_size(config.parquet_row_group_size, config.pack_size), config.parquet_compression,
    )  # fmt: skip
    workers = engine.worthwhile(plan.workers, sum(work.bytes_to_read for work in missing))
    written = iter(run(write_shard, gathering, missing, workers=workers, on_done=count))
    complete = iter([receipt or next(written) for receipt in receipts])
    return [[next(complete) for _ in split_works] for split_works in per_split]
