"""What a training run will do, from its config and its data: steps, epochs, tokens, the switch between stages.

Nothing here imports Megatron, so the dry-run is quick and works anywhere.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from nemotron.errors import UserError
from nemotron.training.checkpoints.hf_folder import model_config
from nemotron.training.checkpoints.initial_weights import StartingPoint, starting_point
from nemotron.training.checkpoints.run_folder import finished_iterations, resume_folder
from nemotron.training.checks.data_and_model import check_model_folder, check_padding
from nemotron.training.checks.settings import _check_numbers, _positive_int, check_settings
from nemotron.training.checks.tokenizer import check_tokenizer, check_vocabulary
from nemotron.training.config import SftConfig
from nemotron.training.objective.loss import Schedule, resolve_schedule
from nemotron.training.parallelism.layout import explain_layout
from nemotron.training.prepared_data import PreparedData


@dataclass(frozen=True)
class Plan:
    """A run, counted."""

    data: str
    train_packs: int
    valid_packs: int
    pack_size: int
    global_batch_size: int
    train_iters: int
    length: tuple[str, int | float]
    """The key that sets the length of the run, and its value: train.train_iters, train_samples or num_epochs."""
    warmup_iters: int
    schedule: Schedule
    start: StartingPoint
    layout: list[tuple[str, str]]
    """How ranks share the model and the packs, in words (see `parallelism/layout.py`)."""
    validation: str
    """How the valid split is evaluated, in words."""
    notes: list[str]
    """What is allowed but may not be meant, a line each."""

    @property
    def epochs(self) -> float:
        """Passes over the train split. An incomplete last batch of an epoch is left out and the order reshuffled."""
        return self.train_iters / max(1, self.train_packs // self.global_batch_size)

    def rows(self) -> list[tuple[str, str]]:
        """Label and value of each line of the preview."""
        return [
            ("data", f"{self.data} ({self.train_packs:,} train and {self.valid_packs:,} valid packs)"),
            ("pack size", f"{self.pack_size:,} tokens"),
            ("iterations", f"{self.train_iters:,} of {self.global_batch_size:,} packs ({self.epochs:.2f} epochs)"),
            ("tokens", f"up to {self.train_iters * self.global_batch_size * self.pack_size:,}"),
            ("learning-rate warm-up", f"{self.warmup_iters:,} iterations"),
            ("loss averages over", self.schedule.describe()),
            ("validation", self.validation),
            ("starts from", self.start.description),
            *self.layout,
            *(("note", note) for note in self.notes),
        ]


def make_plan(config: SftConfig, data: PreparedData, ranks: int | None = None, *, here: bool = True) -> Plan:
    """Count a run, and refuse what can be told from its config and the folders that it names.

    Args:
        ranks: processes in all, where that is known.
        here: whether this machine is the one that trains.

    Raises:
        UserError: a batch larger than the train split, a pack size, tokenizer or padding that does not fit the data's,
            settings that this training cannot honour, nothing to start from, or a length that makes no sense.
    """
    _check_numbers(config)
    start = starting_point(config, here=here)
    if here:
        resumed = resume_folder(config, Path(config.run.output_dir).absolute())
        if finished := finished_iterations(resumed):
            start = replace(start, description=f"iteration {finished:,}, saved in {resumed}")
    check_model_folder(config.recipe.hf_model, here=here)
    check_tokenizer(config, data, start.checkpoint, here=here)
    check_padding(config, data)
    if described := model_config(config.recipe.hf_model):
        check_vocabulary(data, described["vocab_size"], config.recipe.hf_model)
    pack_size = _pack_size(config, data)
    check_settings(config, pack_size)
    batch = _positive_int(config.train.get("global_batch_size"), "train.global_batch_size")
    train_packs = data.packs["train"]
    if train_packs < batch:
        raise UserError(
            f"train.global_batch_size is {batch}, but {data.reference} has only {train_packs} training packs.",
            f"Lower it (train.global_batch_size={train_packs}) or prepare more data.",
        )
    length, train_iters = _train_iters(config, batch, train_packs)
    warmup_iters = _warmup_iters(config, batch)
    valid_packs = data.packs.get("valid", 0)
    notes = []
    if warmup_iters >= train_iters:
        notes.append(
            f"The learning rate is still warming up when the run ends: {warmup_iters:,} iterations of warm-up, "
            f"{train_iters:,} in the run (scheduler.lr_warmup_samples, scheduler.lr_warmup_iters)."
        )
    if not valid_packs:
        notes.append("The valid split is empty: no validation.")
    return Plan(
        data=data.reference,
        train_packs=train_packs,
        valid_packs=valid_packs,
        pack_size=pack_size,
        global_batch_size=batch,
        train_iters=train_iters,
        length=length,
        warmup_iters=warmup_iters,
        schedule=resolve_schedule(config.loss.stages, train_iters),
        start=start,
        layout=explain_layout(config, pack_size, ranks),
        validation=_validation(config, valid_packs, batch),
        notes=notes,
    )


def _validation(config: SftConfig, valid_packs: int, batch: int) -> str:
    iterations, interval = (config.validation.get(key) for key in ("eval_iters", "eval_interval"))
    largest = config.validation.get("eval_global_batch_size") or batch
    if not valid_packs or iterations == 0:
        return "none: the valid split is empty" if not valid_packs else "none (validation.eval_iters=0)"
    when = f"every {interval:,} iterations and at the end" if interval else "at the end"
    if iterations is None or iterations * largest >= valid_packs:
        return f"{when}, the whole valid split"
    return f"{when}, {iterations * largest:,} of {valid_packs:,} packs: the next ones each time"


def _train_iters(config: SftConfig, batch: int, train_packs: int) -> tuple[tuple[str, int | float], int]:
    """What sets the length, and iterations: of train_iters, train_samples, num_epochs; one epoch when none is set."""
    lengths = ("train_iters", "train_samples", "num_epochs")
    given = {name: config.train[name] for name in lengths if config.train.get(name) is not None}
    if len(given) > 1:
        raise UserError(
            "The length of the run is given more than once: "
            + ", ".join(f"train.{k}={v}" for k, v in given.items())
            + ".",
            "Keep one and set the others to null.",
        )
    if "train_iters" in given:
        iterations = _positive_int(given["train_iters"], "train.train_iters")
        return ("train.train_iters", iterations), iterations
    if "train_samples" in given:
        samples = _positive_int(given["train_samples"], "train.train_samples")
        if samples < batch:
            raise UserError(
                f"train.train_samples is {samples}, less than one global batch of {batch}.",
                "Raise it, or lower the batch.",
            )
        return ("train.train_samples", samples), samples // batch
    epochs = given.get("num_epochs", 1)
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not 0 < epochs < math.inf:  # nor nan
        raise UserError(f"train.num_epochs is {epochs!r}.", "Use a positive number; 0.5 is half an epoch.")
    return ("train.num_epochs", epochs), max(1, round(epochs * (train_packs // batch)))


def _warmup_iters(config: SftConfig, batch: int) -> int:
    """Warm-up in iterations. Given in samples, it is rounded up to whole iterations."""
    samples = config.scheduler.get("lr_warmup_samples") or 0
    iters = config.scheduler.get("lr_warmup_iters") or 0
    if samples and iters:
        raise UserError(
            f"The warm-up is given twice: scheduler.lr_warmup_samples={samples} and scheduler.lr_warmup_iters={iters}.",
            "Keep one and set the other to 0.",
        )
    return math.ceil(samples / batch) if samples else iters


def _pack_size(config: SftConfig, data: PreparedData) -> int:
    made_with, asked = data.metadata.get("pack_size"), config.dataset.get("seq_length")
    if made_with is None and asked is None:
        raise UserError(
            f"{data.reference} does not record its pack size.", "Set dataset.seq_length to the pack size of the data."
        )
    if made_with is not None and asked is not None and made_with != asked:
        raise UserError(
            f"dataset.seq_length is {asked}, but {data.reference} was packed to {made_with} tokens.",
            f"Leave dataset.seq_length out, or prepare the data with pack_size={asked}.",
        )
    return _positive_int(made_with if asked is None else asked, "dataset.seq_length")
