"""What a run will do: its inputs, its settings, its work, and the hash that names its output.

Making a plan reads the inputs' bytes to identify them, but writes nothing: it is what `--dry-run` shows.
"""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from nemotron.data_prep import engine
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.config import DataPrepConfig, check
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.moment import TIMELESS, find_moment
from nemotron.data_prep.packing.lengths import limit
from nemotron.data_prep.reasoning_modes.settings import control_of
from nemotron.data_prep.sources import InputFile, Part, cut, find_files, read_rows
from nemotron.data_prep.sources.blend import Blend, Dataset, read_blend
from nemotron.data_prep.sources.blend_table import describe_missing, refuse_missing
from nemotron.data_prep.tokenization.encoders import Encoded, EncoderChoice, choose_encoder, fast_ids, joined
from nemotron.data_prep.tokenization.part import Tokenization, TokenizeWork
from nemotron.data_prep.tokenization.tokenizer import Tokenizer, load_tokenizer
from nemotron.data_prep.tokenization.turn_end import with_turn_end
from nemotron.errors import UserError
from nemotron.lineage import check_root
from nemotron.paths import expand_home

FORMAT_VERSION = 9
"""Raised whenever the same inputs and config would give other files than before."""
SAMPLED_ROWS = 200
"""Rows of every dataset that may be encoded twice, to choose the encoder."""
SAMPLE_RESERVE = 32
"""Conversations tokenized beyond twice the sample, in case some turn out too long or are duplicates."""
MORE = 4
"""How many times more are tokenized when those were not enough."""


@dataclass(frozen=True)
class PlannedFile:
    """An input file and the folder of its tokenized parts, named after all that decides their content."""

    file: InputFile
    parts: tuple[Part, ...]
    folder: Path

    def output(self, part: Part) -> Path:
        """Path of a tokenized part, without suffix."""
        return self.folder / f"part_{part.index:06d}"


@dataclass(frozen=True)
class PlannedDataset:
    """A dataset of the blend and its files."""

    dataset: Dataset
    files: tuple[PlannedFile, ...]

    @property
    def bytes(self) -> int:
        return sum(planned.file.size for planned in self.files)

    def parts(self) -> Iterator[tuple[PlannedFile, Part]]:
        """Every part with its file, in order."""
        for planned in self.files:
            for part in planned.parts:
                yield planned, part


@dataclass(frozen=True)
class Plan:
    """Everything that decides what is written, and where."""

    config: DataPrepConfig
    blend: Blend
    datasets: tuple[PlannedDataset, ...]
    tokenizer: Tokenizer
    encoder: EncoderChoice
    template: Template = field(repr=False)
    output_dir: Path
    run_hash: str
    """Over everything that changes the output, and nothing that does not."""
    candidates: tuple[int | None, ...]
    """Per dataset, how many conversations of each part are tokenized for a sample: those that rank first. None: all."""
    timeless_hash: str | None = None
    """The run hash but for the moment at which a template that asks for the time is rendered; None: it does not ask."""

    @property
    def run_dir(self) -> Path:
        return self.output_dir / "runs" / self.run_hash

    @property
    def limit(self) -> int:
        """The longest sequence that goes into a pack, in tokens."""
        return limit(self.config)

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Shares of train, valid and test."""
        return self.config.train_ratio, self.config.valid_ratio, self.config.test_ratio

    @property
    def workers(self) -> int | None:
        """How much is done at a time; None: as much as the Ray cluster has cores for."""
        return self.config.workers or (engine.default_workers() if self.config.engine == "local" else None)

    def tokenization(self) -> Tokenization:
        """What all parts are tokenized with."""
        return Tokenization(self.tokenizer, self.template, self.config.special_tokens_in_content)

    def tokenize_work(self, number: int, planned: PlannedFile, part: Part) -> TokenizeWork:
        """The work of one part of dataset `number`."""
        config, dataset = self.config, self.datasets[number].dataset
        return TokenizeWork(
            part,
            planned.output(part),
            admission_of(dataset, config),
            self.candidates[number],
            config.sample_seed,
            control_of(config.reasoning, dataset.reasoning, dataset.name),
        )

    def with_more_candidates(self, numbers: Sequence[int]) -> "Plan":
        """This plan with `MORE` times as many conversations of these datasets to take the sample from."""
        grown = (None if n is None else n * MORE if i in numbers else n for i, n in enumerate(self.candidates))
        return replace(self, candidates=tuple(grown))

    def rows(self) -> list[tuple[str, str]]:
        """The plan as (what, value) lines for a dry run."""
        config = self.config
        inputs = [
            (f"dataset {d.dataset.name}", f"{len(d.files)} files, {d.bytes / 1e6:.1f} MB, {len(list(d.parts()))} parts")
            for d in self.datasets
        ]
        return [
            ("blend", str(self.blend.path)),
            *inputs,
            *([("missing", describe_missing(self.blend))] if self.blend.missing else []),
            *([("not used", ", ".join(self.blend.unused_keys))] if self.blend.unused_keys else []),
            ("tokenizer", f"{self.tokenizer.name} ({self.tokenizer.vocab_size:,} tokens)"),
            ("encoder", f"{self.encoder.name} ({self.encoder.reason})" if self.encoder.reason else self.encoder.name),
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
        """The plan as JSON values, for plan.json."""
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


def make_plan(config: DataPrepConfig, run: engine.Run | None = None) -> Plan:
    """Read the blend, find and identify the inputs, load tokenizer and template. Writes nothing.

    `run` has workers that will tokenize: where the inputs are worth several, these give the ids by which the encoder is
    chosen, so that they and not this process load it. Raises UserError for whatever the user got wrong.
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
    output_dir = expand_home(config.output_dir).absolute()
    if config.sample is not None:
        output_dir /= f"sample-{config.sample}"

    def plan_datasets(template: Template) -> tuple[PlannedDataset, ...]:
        pairs = zip(blend.datasets, files, strict=True)
        return tuple(_plan_dataset(*pair, config, tokenizer, template, output_dir) for pair in pairs)

    timeless_hash = None
    if template.moment is not None:
        timeless_hash = _run_hash(config, plan_datasets(template.at(TIMELESS)))
        recorded = None if config.force else find_moment(output_dir, timeless_hash)
        template = template.at(recorded or template.moment)
    datasets = plan_datasets(template)
    workers = 1 if run is None else engine.worthwhile(config.workers or engine.default_workers(), _bytes(datasets))
    by = fast_ids if run is None or workers == 1 else _ids_of_workers(run, workers)
    encoder = choose_encoder(config.encoder, tokenizer.definition, _sample_texts(datasets), by)
    tokenizer = tokenizer.encoding_with(encoder.name)
    candidates = None if config.sample is None else 2 * config.sample + SAMPLE_RESERVE
    return Plan(
        config, blend, datasets, tokenizer, encoder, template, output_dir, _run_hash(config, datasets),
        (candidates,) * len(datasets), timeless_hash,
    )  # fmt: skip


def _plan_dataset(
    dataset: Dataset,
    files: list[InputFile],
    config: DataPrepConfig,
    tokenizer: Tokenizer,
    template: Template,
    output_dir: Path,
) -> PlannedDataset:
    """Name the folder of each file's tokens after what decides them; the sample too, where only that is tokenized."""
    admission = admission_of(dataset, config)
    settings = [
        FORMAT_VERSION, tokenizer.digest, template.digest, sorted(tokenizer.special_tokens_map.items()),
        *admission.fields, admission.used_in_field, admission.used_in_filter, admission.strict_fields,
        config.special_tokens_in_content,
        asdict(control_of(config.reasoning, dataset.reasoning, dataset.name)),
        [config.sample, config.sample_seed] if config.sample is not None else None,
    ]  # fmt: skip
    planned = []
    for file in files:
        key = _hash([*settings, file.format, file.compression, file.digest])
        planned.append(PlannedFile(file, tuple(cut(file)), output_dir / "tokens" / dataset.name / key))
    return PlannedDataset(dataset, tuple(planned))


def _bytes(datasets: Sequence[PlannedDataset]) -> int:
    return sum(dataset.bytes for dataset in datasets)


def _ids_of_workers(run: engine.Run, workers: int) -> Callable[[str, Sequence[str]], Encoded | str]:
    """`fast_ids`, of which every worker does a share."""

    def ids(definition: str, texts: Sequence[str]) -> Encoded | str:
        bounds = [len(texts) * i // workers for i in range(workers + 1)]
        shares = [texts[begin:end] for begin, end in itertools.pairwise(bounds) if begin < end]
        return joined(run(fast_ids, definition, shares, workers=workers, on_done=lambda *_: None))

    return ids


def _sample_texts(datasets: tuple[PlannedDataset, ...]) -> Iterator[str]:
    """Text of the first rows of every dataset, in turn. A file that cannot be read is reported when its turn comes."""
    rows = [_first_rows(next(dataset.parts())[1]) for dataset in datasets]
    for row in itertools.chain.from_iterable(itertools.zip_longest(*rows)):
        yield from _strings(row)


def _first_rows(part: Part) -> Iterator[Any]:
    with contextlib.suppress(UserError):
        yield from (row.value for row in itertools.islice(read_rows(part), SAMPLED_ROWS))


def _strings(value: Any) -> Iterator[str]:
    """All text inside a JSON value, which may be nested deeper than Python recurses."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict):
            left.extend(value.values() if isinstance(value, dict) else value)


def admission_of(dataset: Dataset, config: DataPrepConfig) -> Admission:
    """Which rows of a dataset are meant and where they hold their conversations: the blend's word goes first."""
    fields = Fields(
        dataset.messages_field or config.messages_field,
        dataset.tools_field or config.tools_field,
        dataset.format or config.format,
    )
    return Admission(fields, config.used_in_field, dataset.filter or config.used_in_filter, config.strict_fields)


def _run_hash(config: DataPrepConfig, datasets: tuple[PlannedDataset, ...]) -> str:
    settings = {
        name: getattr(config, name)
        for name in (
            "pack_size", "algorithm", "pad_to_multiple", "overlong", "max_doc_tokens", "dedupe", "seed",
            "train_ratio", "valid_ratio", "test_ratio", "num_shards", "parquet_row_group_size", "parquet_compression",
            "sample", "sample_seed",
        )
    }  # fmt: skip
    inputs = [
        [
            d.dataset.name,
            d.dataset.weight,
            d.dataset.has_low_effort,
            d.dataset.repeat,
            d.dataset.goes_to,
            [[Path(f.file.path).name, f.folder.name] for f in d.files],
        ]
        for d in datasets
    ]
    return _hash([FORMAT_VERSION, settings, config.blend.samples, config.reasoning.low_effort, inputs])


def _hash(value: Any) -> str:
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
