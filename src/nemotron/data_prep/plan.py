"""Plan a run: its inputs, settings, work, and the hash of its output.

Making a plan reads the inputs' bytes to identify them, but writes nothing. `--dry-run` shows the plan.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nemotron.data_prep import engine
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.config import DataPrepConfig, check
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.moment import TIMELESS, find_moment
from nemotron.data_prep.packing.lengths import find_limit
from nemotron.data_prep.planned_inputs import PlannedDataset, plan_files
from nemotron.data_prep.reasoning_modes.settings import merge_control
from nemotron.data_prep.run_hash import FORMAT_VERSION, hash_run, hash_tokens
from nemotron.data_prep.sources import InputFile, find_files
from nemotron.data_prep.sources.blend import Blend, Dataset, read_blend
from nemotron.data_prep.sources.blend_table import describe_missing, refuse_missing
from nemotron.data_prep.tokenization.part import TokenizeWork
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.data_prep.tokenizer.turn_end import with_turn_end
from nemotron.files.paths import ensure_text
from nemotron.lineage import check_root
from nemotron.printable import count_of

SAMPLE_RESERVE = 32
"""Conversations tokenized in addition to twice the sample, because some may be too long or duplicates."""
MORE = 4
"""The factor by which more are tokenized if those are not enough."""


@dataclass(frozen=True)
class PrepPlan:
    """Everything that decides what is written and where."""

    config: DataPrepConfig
    blend: Blend
    datasets: tuple[PlannedDataset, ...]
    tokenizer: Tokenizer
    template: Template = field(repr=False)
    output_dir: Path
    run_hash: str
    """Hash of everything that changes the output, and of nothing else."""
    candidates: tuple[int | None, ...]
    """Per dataset, how many (first-ranked) conversations of each part are tokenized for a sample; None means all."""
    timeless_hash: str | None = None
    """The run hash without the moment of rendering; None if the template does not ask for the time."""

    @property
    def run_dir(self) -> Path:
        return self.output_dir / "runs" / self.run_hash

    @property
    def limit(self) -> int:
        """The longest sequence that goes into a pack, in tokens."""
        return find_limit(self.config)

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Shares of train, valid and test."""
        return self.config.train_ratio, self.config.valid_ratio, self.config.test_ratio

    @property
    def workers(self) -> int | None:
        """Number of workers; None means one per core of the Ray cluster."""
        return self.config.workers or (engine.count_cores() if self.config.engine == "local" else None)

    def tokenize_works(self, number: int) -> Iterator[TokenizeWork]:
        """Yield the work of dataset `number`, in order."""
        config, planned = self.config, self.datasets[number]
        admission = make_admission(planned.dataset, config)
        for bundle in planned.bundles:
            yield TokenizeWork(
                bundle.parts, bundle.output, admission, self.candidates[number], config.sample_seed, planned.reasoning
            )

    def with_more_candidates(self, numbers: Sequence[int]) -> "PrepPlan":
        """Return this plan with `MORE` times as many conversations to sample from.

        Args:
            numbers: The positions of the datasets that get more.
        """
        grown = (None if n is None else n * MORE if i in numbers else n for i, n in enumerate(self.candidates))
        return replace(self, candidates=tuple(grown))

    def rows(self) -> list[tuple[str, str]]:
        """Return the plan as (what, value) lines for a dry run."""
        config = self.config
        inputs = [
            (
                f"dataset {d.dataset.name}",
                f"{count_of(len(d.files), 'file')}, {d.bytes / 1e6:.1f} MB, {count_of(d.count_parts(), 'part')}",
            )
            for d in self.datasets
        ]
        return [
            ("blend", str(self.blend.path)),
            *inputs,
            *([("missing", describe_missing(self.blend))] if self.blend.missing else []),
            *([("not used", ", ".join(self.blend.unused_keys))] if self.blend.unused_keys else []),
            ("tokenizer", f"{self.tokenizer.name} ({self.tokenizer.vocab_size:,} tokens)"),
            ("encoder", "chosen when tokenizing starts" if config.encoder == "auto" else config.encoder),
            ("chat template", self.template.name),
            *([("template's time", self.template.moment.isoformat(" "))] if self.template.moment else []),
            ("packing", f"{config.algorithm} into packs of {config.pack_size:,} tokens"),
            ("over-long", f"{config.overlong} beyond {self.limit:,} tokens"),
            ("splits", f"train {config.train_ratio:g}, valid {config.valid_ratio:g}, test {config.test_ratio:g}"),
            ("engine", self._engine()),
            ("run hash", self.run_hash),
            ("writes to", str(self.run_dir)),
            ("published as", str(self.output_dir / "splits")),
        ]

    def _engine(self) -> str:
        if self.config.engine == "local":
            return f"{self.workers} processes of this machine"
        address = self.config.ray_address or os.environ.get("RAY_ADDRESS")
        where = f"the Ray cluster at {address}" if address else "a Ray cluster of this machine"
        return f"{where}, {self.workers} parts at a time" if self.workers else f"{where}, all its cores"

    def _template(self) -> dict[str, str]:
        described = {"name": self.template.name, "digest": self.template.digest}
        if self.template.moment is not None and self.timeless_hash is not None:
            described |= {"moment": self.template.moment.isoformat(), "timeless_hash": self.timeless_hash}
        return described

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values, for plan.json."""
        return {
            "format_version": FORMAT_VERSION,
            "run_hash": self.run_hash,
            "blend": str(self.blend.path),
            "tokenizer": {"model": self.tokenizer.name, "digest": self.tokenizer.digest},
            "chat_template": self._template(),
            "datasets": [
                {
                    "name": planned.dataset.name,
                    "weight": planned.dataset.weight,
                    "files": [{"path": f.file.path, "bytes": f.file.size, "digest": f.file.digest,
                               "parts": len(f.parts), "tokens": str(f.folder)} for f in planned.files],
                }
                for planned in self.datasets
            ],
        }  # fmt: skip


def make_plan(config: DataPrepConfig) -> PrepPlan:
    """Read the blend, find and identify the inputs, load tokenizer and template.

    Writes nothing and starts no work.

    Raises:
        UserError: A setting or an input is wrong.
    """
    check(config)
    check_root(config.run.artifacts)
    blend = read_blend(config.blend_path)
    if config.strict:
        refuse_missing(blend)
    files = [find_files(dataset) for dataset in blend.datasets]
    tokenizer = load_tokenizer(config.tokenizer)
    template = load_template(config.chat_template, tokenizer)
    tokenizer = with_turn_end(tokenizer, template)
    output_dir = Path(config.output_dir).absolute()
    ensure_text(output_dir, "The output folder")
    if config.sample is not None:
        output_dir /= f"sample-{config.sample}"

    def plan_datasets(template: Template) -> tuple[PlannedDataset, ...]:
        pairs = zip(blend.datasets, files, strict=True)
        return tuple(_plan_dataset(*pair, config, tokenizer, template, output_dir) for pair in pairs)

    timeless_hash = None
    if template.moment is not None:
        timeless_hash = _hash_run(config, plan_datasets(template.at(TIMELESS)))
        recorded = None if config.force else find_moment(output_dir, timeless_hash)
        template = template.at(recorded or template.moment)
    datasets = plan_datasets(template)
    candidates = None if config.sample is None else 2 * config.sample + SAMPLE_RESERVE
    return PrepPlan(
        config, blend, datasets, tokenizer, template, output_dir, _hash_run(config, datasets),
        (candidates,) * len(datasets), timeless_hash,
    )  # fmt: skip


def _plan_dataset(
    dataset: Dataset,
    files: Sequence[InputFile],
    config: DataPrepConfig,
    tokenizer: Tokenizer,
    template: Template,
    output_dir: Path,
) -> PlannedDataset:
    hashes = hash_tokens(config, dataset, files, tokenizer, template)
    planned, bundles = plan_files(files, hashes, output_dir / "tokens" / dataset.name)
    reasoning = merge_control(config.reasoning, dataset.reasoning, dataset.name)
    return PlannedDataset(dataset, planned, bundles, reasoning)


def _hash_run(config: DataPrepConfig, datasets: Sequence[PlannedDataset]) -> str:
    return hash_run(config, [(d.dataset, [(f.file, f.hash) for f in d.files]) for d in datasets])


def make_admission(dataset: Dataset, config: DataPrepConfig) -> Admission:
    """Return which rows of a dataset to take, and where their conversations are.

    The blend takes precedence over the config.
    """
    fields = Fields(
        dataset.messages_field or config.messages_field,
        dataset.tools_field or config.tools_field,
        dataset.format or config.format,
    )
    return Admission(
        fields,
        config.used_in_field,
        dataset.filter or config.used_in_filter,
        config.strict_fields,
        tuple(dataset.checks or ()),
    )
