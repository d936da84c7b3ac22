"""Tokenize all inputs: the first phase of data prep.

Parts that are already tokenized and undamaged are skipped.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nemotron.data_prep import engine
from nemotron.data_prep.engine.interface import do_nothing
from nemotron.data_prep.output.excerpts import Excerpt, Wanted, read_excerpt
from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.progress import OnProgress, WorkProgress
from nemotron.data_prep.tokenization.part import Tokenization, TokenizeWork, tokenize_part
from nemotron.data_prep.tokenization.part_files import PartReceipt, is_intact
from nemotron.data_prep.tokenizer.encoder_choice import choose_for_run
from nemotron.data_prep.tokenizer.encoders import Encoded, EncoderChoice, fast_ids, join


class InputTokenizer:
    """Tokenizes the inputs of a plan.

    It remembers which outputs it has checked, for a later plan with more candidates.
    """

    def __init__(self, run: engine.Run, on_progress: OnProgress) -> None:
        self._run, self._on_progress = run, on_progress
        self._receipts: dict[Path, PartReceipt] = {}
        """Receipts of the outputs that have been checked or made."""
        self.encoder: EncoderChoice | None = None
        """The library that encodes; None if nothing has been encoded yet."""
        self._how: Tokenization | None = None
        """What all parts are tokenized with."""
        self._workers: int | None = 1
        """The number of workers that have loaded that library."""

    def tokenize(self, plan: PrepPlan) -> list[list[PartReceipt]]:
        """Tokenize every part that is missing.

        Returns:
            The receipts of all parts, per dataset.

        Raises:
            UserError: An input cannot be read.
        """
        works, names = _works(plan)
        there = {output: receipt for output, work in works.items() if (receipt := work.find_receipt())}
        self._check({output: receipt for output, receipt in there.items() if output not in self._receipts}, plan)
        kept = {output for output, receipt in there.items() if self._receipts.get(output) == receipt}
        self._make(plan, works, names, kept)
        return [[self._receipts[bundle.output] for bundle in of.bundles] for of in plan.datasets]

    def _check(self, found: dict[Path, PartReceipt], plan: PrepPlan) -> None:
        """Accept the outputs of an earlier run that have not changed since.

        Damaged tokens must not be used.
        """
        sizes = [receipt.bytes for receipt in found.values()]
        done = 0

        def count(position: int, _: bool) -> None:
            nonlocal done
            done += sizes[position]
            self._on_progress(WorkProgress("check the tokens of an earlier run", done, sum(sizes), "bytes"))

        workers = engine.count_useful_workers(plan.workers, sum(sizes) // 8)
        intact = self._run(is_intact, None, list(found), workers=workers, on_done=count)
        self._receipts |= {output: found[output] for output, is_whole in zip(found, intact, strict=True) if is_whole}

    def _make(self, plan: PrepPlan, works: dict[Path, TokenizeWork], names: dict[Path, str], kept: set[Path]) -> None:
        """Do the work whose outputs are missing, and report progress by dataset."""
        missing = [work for output, work in works.items() if output not in kept]
        if not missing:
            return
        totals, done = Counter[str](), Counter[str]()
        for output, work in works.items():
            totals[names[output]] += work.bytes
            done[names[output]] += work.bytes * (output in kept)
        made = {names[work.output]: Counter[str]() for work in missing}
        for name in made:
            self._on_progress(WorkProgress(name, done[name], totals[name], "bytes"))

        def count(position: int, receipt: PartReceipt) -> None:
            name = names[missing[position].output]
            done[name] += missing[position].bytes
            made[name].update(rows=receipt.rows, tokens=receipt.tokens)
            self._on_progress(WorkProgress(name, done[name], totals[name], "bytes", made[name]))

        how = self._tokenization(plan)
        self._workers = engine.count_useful_workers(plan.workers, sum(work.bytes for work in missing))
        receipts = self._run(tokenize_part, how, missing, workers=self._workers, on_done=count)
        self._receipts |= {work.output: receipt for work, receipt in zip(missing, receipts, strict=True)}

    def read(
        self, plan: PrepPlan, wanted: Sequence[Wanted], meanwhile: Callable[[], object] = do_nothing
    ) -> list[Excerpt]:
        """Read pieces of what was tokenized, as text.

        The processes that have the tokenizer loaded do it, and this one calls `meanwhile`.
        """
        how = self._how or Tokenization(plan.tokenizer, plan.template, plan.config.special_tokens_in_content)
        return self._run(_read, how, wanted, workers=self._workers, on_done=lambda *_: None, meanwhile=meanwhile)

    def _tokenization(self, plan: PrepPlan) -> Tokenization:
        """Return what all parts are tokenized with; the first call chooses the encoder."""
        if self._how is None:
            config = plan.config
            # On a cluster, this process chooses the encoder.
            is_local = config.engine == "local"
            size = sum(planned.bytes for planned in plan.datasets)
            workers = engine.count_useful_workers(plan.workers, size) if is_local else 1
            first_parts = [planned.files[0].parts[0] for planned in plan.datasets]
            ids_by = fast_ids if workers == 1 else partial(_ids_of_workers, self._run, workers)
            self.encoder = choose_for_run(config.encoder, plan.tokenizer, first_parts, ids_by)
            tokenizer = plan.tokenizer.encoding_with(self.encoder.name)
            self._how = Tokenization(tokenizer, plan.template, config.special_tokens_in_content)
        return self._how


def _read(how: Tokenization, wanted: Wanted) -> Excerpt:
    return read_excerpt(how.tokenizer, wanted)


def _ids_of_workers(run: engine.Run, workers: int, definition: bytes, texts: Sequence[str]) -> Encoded | str:
    """Compute `fast_ids` in the workers, a share in each.

    This way only the workers load the encoder.
    """
    bounds = [len(texts) * i // workers for i in range(workers + 1)]
    shares = [texts[begin:end] for begin, end in itertools.pairwise(bounds) if begin < end]
    return join(run(fast_ids, definition, shares, workers=workers, on_done=lambda *_: None))


def _works(plan: PrepPlan) -> tuple[dict[Path, TokenizeWork], dict[Path, str]]:
    """Return the work of a plan and its names, by output.

    What has the same content is tokenized once.
    """
    works: dict[Path, TokenizeWork] = {}
    names: dict[Path, str] = {}
    for number, planned in enumerate(plan.datasets):
        for work in plan.tokenize_works(number):
            works.setdefault(work.output, work)
            names.setdefault(work.output, f"tokenize {planned.dataset.name}")
    return works, names
