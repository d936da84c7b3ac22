"""Run data prep, from rows to published packs.

plan        find and identify the inputs; name the output by a hash of everything that decides it
tokenize    every part of every file: rows -> conversations -> chunks -> tokens and mask
select      handle over-long sequences, duplicates, samples, blend shares and splits, over small arrays
pack        every shard of every split: lengths -> packs -> gathered and rolled -> Parquet
count       check that every input row is either kept or dropped for a named reason
publish     replace the output atomically, and record the artifact
"""

import contextlib
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from nemotron.config.path_settings import expand_paths
from nemotron.config.yaml_file import dump_yaml
from nemotron.data_prep import engine, preload
from nemotron.data_prep.config import SPLITS, DataPrepConfig, check
from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.output.counting import collect_metadata, count_splits, ensure_something_trains
from nemotron.data_prep.output.dropped_rows import write_dropped
from nemotron.data_prep.output.examples import (
    EXAMPLES_FILE,
    Examples,
    choose_examples,
    dropped_rows_to_show,
    read_examples,
)
from nemotron.data_prep.output.finished import read_finished
from nemotron.data_prep.output.metadata import Metadata
from nemotron.data_prep.output.publish import publish
from nemotron.data_prep.packing.layout import PackedSplit, make_shard_works, pack_split
from nemotron.data_prep.packing.shards import (
    Gathering,
    ShardReceipt,
    choose_row_group_size,
    read_finished_shard,
    write_shard,
)
from nemotron.data_prep.plan import PrepPlan, make_plan
from nemotron.data_prep.progress import OnProgress, WorkProgress, ignore_progress
from nemotron.data_prep.report.page import render_report
from nemotron.data_prep.selection.corpus import Corpus, load_corpus
from nemotron.data_prep.selection.overlong import Cut, cut_overlong
from nemotron.data_prep.selection.select import Selection, select
from nemotron.data_prep.tokenization.part_files import PartReceipt
from nemotron.data_prep.tokenize_inputs import InputTokenizer
from nemotron.data_prep.tokenizer.encoders import EncoderChoice
from nemotron.errors import UserError
from nemotron.files.atomic_files import remove_unfinished, write_checksums, write_json, write_text
from nemotron.files.folder_lock import sole_writer
from nemotron.lineage import Artifact
from nemotron.secrets import mask_tree, mask_values


@dataclass(frozen=True)
class PrepResult:
    """The results of a run."""

    plan: PrepPlan
    metadata: Metadata
    splits_dir: Path
    """The folder with train/, valid/ and test/."""
    artifact: Artifact
    encoder: EncoderChoice | None
    """The library that encoded; None if nothing had to be encoded."""
    unchanged: bool
    """Whether the output existed already for the same inputs and settings."""

    @property
    def has_training_split(self) -> bool:
        return any(split.name == "train" for split in self.metadata.splits)


def prepare(config: DataPrepConfig, *, on_progress: OnProgress = ignore_progress) -> PrepResult:
    """Prepare the data that `config` names.

    A killed run is resumed; a finished run is left unchanged.

    Raises:
        UserError: Settings are wrong, inputs are missing or unreadable, nothing can be trained on, or the output folder
            is in use or full.
    """
    config = expand_paths(config, {})  # already done for a config from YAML
    check(config)
    preload.start_early(config)
    with engine.start(config.engine, config.ray_address) as run:
        plan = make_plan(config)
        with _write_errors(plan.output_dir), sole_writer(plan.output_dir):
            finished = None if config.force else read_finished(plan)
            if finished is not None:
                return _publish(plan, finished, unchanged=True)
            _begin(plan)
            if engine.count_useful_workers(plan.workers, sum(planned.bytes for planned in plan.datasets)) > 1:
                preload.start_preloading(config)
            tokenizer = InputTokenizer(run, on_progress)
            plan, receipts, corpus, cut, selection = _tokenize_and_select(plan, tokenizer)
            write_dropped(plan, receipts, corpus, selection)
            ensure_something_trains(plan, receipts, selection)
            chosen = choose_examples(plan, receipts, corpus, cut, selection)
            splits: list[PackedSplit] = []
            counted: list[Metadata] = []

            def pack() -> None:
                splits.extend(_pack(config, corpus, cut, selection, split) for split in range(len(SPLITS)))

            def count() -> None:
                counted.append(collect_metadata(plan, corpus, receipts, cut, selection, splits))

            examples = Examples(tokenizer.read(plan, chosen, meanwhile=pack), dropped_rows_to_show(plan, receipts))
            shards = _write_shards(plan, corpus, cut, splits, run, on_progress, meanwhile=count)
            metadata = replace(counted[0], splits=count_splits(plan, corpus, cut, selection, shards))
            write_json(plan.run_dir / EXAMPLES_FILE, mask_values(asdict(examples)))
            write_json(plan.run_dir / "metadata.json", metadata.to_dict())
            write_checksums(plan.run_dir)
            return _publish(plan, metadata, tokenizer.encoder)


def _publish(
    plan: PrepPlan, metadata: Metadata, encoder: EncoderChoice | None = None, *, unchanged: bool = False
) -> PrepResult:
    artifact = publish(plan, metadata, render_report(metadata, read_examples(plan.run_dir)))
    return PrepResult(plan, metadata, plan.output_dir / "splits", artifact, encoder, unchanged)


@contextlib.contextmanager
def _write_errors(output_dir: Path) -> Iterator[None]:
    """Report a full disk, a read-only folder or too little memory as a UserError."""
    try:
        yield
    except OSError as error:
        where = error.filename or f"below {output_dir}"  # the error of a full disk has no file name
        raise UserError(
            f"Cannot write {where}: {error.strerror or error}.", "Fix that and run again; finished work is kept."
        ) from error
    except MemoryError as error:
        detail = str(error).rstrip(".") or "an allocation failed"
        raise UserError(
            f"There is not enough memory: {detail}.",
            "Run again with fewer workers or a smaller pack_size; finished work is kept.",
        ) from error


def _begin(plan: PrepPlan) -> None:
    """Write the plan to disk; with `force`, discard the earlier run."""
    if plan.config.force:
        shutil.rmtree(plan.run_dir, ignore_errors=True)
        for planned in plan.datasets:
            for tokens in planned.folders:
                shutil.rmtree(tokens, ignore_errors=True)
    remove_unfinished(plan.output_dir)
    write_text(plan.run_dir / "config.yaml", dump_yaml(mask_tree(asdict(plan.config))))
    write_json(plan.run_dir / "plan.json", mask_values(plan.to_dict()))


def _tokenize_and_select(
    plan: PrepPlan, tokenizer: InputTokenizer
) -> tuple[PrepPlan, list[list[PartReceipt]], Corpus, Cut, Selection]:
    """Tokenize the inputs, and select what is used.

    If there are too few candidates for the sample, this is repeated with more.

    Returns:
        The plan with the final number of candidates, the receipts per dataset, the corpus, and what was selected from
        it.
    """
    while True:
        receipts = tokenizer.tokenize(plan)
        corpus = _load(plan, receipts)
        cut, selection = _select(plan, corpus)
        short = _find_short_datasets(plan, receipts, corpus, selection)
        if not short:
            return plan, receipts, corpus, cut, selection
        plan = plan.with_more_candidates(short)


def _load(plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]]) -> Corpus:
    """Load the tokenized conversations."""
    outputs = [bundle.output for planned in plan.datasets for bundle in planned.bundles]
    datasets = [number for number, of_dataset in enumerate(receipts) for _ in of_dataset]
    return load_corpus(outputs, list(itertools.chain.from_iterable(receipts)), datasets)


def _select(plan: PrepPlan, corpus: Corpus) -> tuple[Cut, Selection]:
    """Select which conversations are used, how much of each, and in which split."""
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


def _find_short_datasets(
    plan: PrepPlan, receipts: Sequence[Sequence[PartReceipt]], corpus: Corpus, selection: Selection
) -> list[int]:
    """List the datasets with too few conversations for the sample.

    Only datasets that are not fully tokenized yet are listed.
    """
    if plan.config.sample is None:
        return []
    kept = np.bincount(corpus.dataset[selection.kept], minlength=len(plan.datasets))
    left = [any(LeftOut.NOT_SAMPLED in receipt.dropped for receipt in of_dataset) for of_dataset in receipts]
    return [number for number in range(len(plan.datasets)) if left[number] and kept[number] < plan.config.sample]


def _pack(config: DataPrepConfig, corpus: Corpus, cut: Cut, selection: Selection, split: int) -> PackedSplit:
    return pack_split(
        corpus, cut, selection, split,
        pack_size=config.pack_size, algorithm=config.algorithm, seed=config.seed,
        pad_to_multiple=config.pad_to_multiple,
    )  # fmt: skip


def _write_shards(
    plan: PrepPlan,
    corpus: Corpus,
    cut: Cut,
    splits: Sequence[PackedSplit],
    run: engine.Run,
    on_progress: OnProgress,
    meanwhile: Callable[[], object],
) -> list[list[ShardReceipt]]:
    """Write the missing shards, and return the receipts of all shards per split.

    This process calls `meanwhile` while workers write them.
    """
    per_split = make_shard_works(plan.run_dir, corpus, cut, splits, plan.config.pack_size, plan.config.num_shards)
    works = [work for split_works in per_split for work in split_works]
    receipts = [read_finished_shard(work) for work in works]
    missing = [work for work, receipt in zip(works, receipts, strict=True) if receipt is None]
    done, made = len(works) - len(missing), Counter[str]()
    on_progress(WorkProgress("pack", done, len(works), "shards"))

    def count(position: int, receipt: ShardReceipt) -> None:
        nonlocal done
        done += 1
        made.update(packs=receipt.packs, tokens=receipt.tokens)
        on_progress(WorkProgress("pack", done, len(works), "shards", made))

    config = plan.config
    gathering = Gathering(
        corpus.parts, plan.tokenizer.pad_id, config.pad_to_multiple,
        choose_row_group_size(config.parquet_row_group_size, config.pack_size), config.parquet_compression,
    )  # fmt: skip
    workers = engine.count_useful_workers(plan.workers, sum(work.bytes_to_read for work in missing))
    written = iter(run(write_shard, gathering, missing, workers=workers, on_done=count, meanwhile=meanwhile))
    complete = iter([receipt or next(written) for receipt in receipts])
    return [[next(complete) for _ in split_works] for split_works in per_split]
