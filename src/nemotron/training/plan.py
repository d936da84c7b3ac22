"""What a training run will do, from its config and its data: steps, epochs, tokens, the switch between stages.

Nothing here imports Megatron, so the dry-run is quick and works anywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.objective.loss import Schedule, resolve_schedule
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
    validation: str
    """How the valid split is evaluated, in words."""
    notes: list[str]
    """What is allowed but may not be meant, a line each."""

    @property
    def epochs(self) -> float:
        """Passes over the train split. An incomplete last batch of an epoch is left out and the order reshuffled."""
        return self.train_iters / max(1, self.train_packs // self.global_batch_size)

    def rows(self, layout: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """Label and value of each line of the preview.

        Args:
            layout: how ranks share the model and the packs, in words (see `parallelism/layout.py`).
        """
        return [
            ("data", f"{self.data} ({self.train_packs:,} train and {self.valid_packs:,} valid packs)"),
            ("pack size", f"{self.pack_size:,} tokens"),
            ("iterations", f"{self.train_iters:,} of {self.global_batch_size:,} packs ({self.epochs:.2f} epochs)"),
            ("tokens", f"up to {self.train_iters * self.global_batch_size * self.pack_size:,}"),
            ("learning-rate warm-up", f"{self.warmup_iters:,} iterations"),
            ("loss averages over", self.schedule.describe()),
            ("validation", self.validation),
            ("starts from", self.start.description),
            *layout,
            *(("note", note) for note in self.notes),
        ]


def make_plan(
    config: SftConfig,
    data: PreparedData,
    start: StartingPoint,
    run: RunFolder | None = None,
) -> Plan:
    """Count a run. Nothing is refused here: config and data have passed `check_counts` (checks/before_start.py).

    Args:
        start: what the run starts from.
        run: the run's folders, on the machine that trains; None on another one.
    """
    if run is not None and run.finished:
        start = replace(start, description=f"iteration {run.finished:,}, saved in {run.resume_from}")
    batch, train_packs, valid_packs = config.train["global_batch_size"], data.packs["train"], data.packs.get("valid", 0)
    pack_size, train_iters = find_pack_size(config, data), count_iterations(config, train_packs)
    assert pack_size is not None
    assert train_iters is not None
    warmup_iters = count_warm_up(config)
    return Plan(
        data=data.reference,
        train_packs=train_packs,
        valid_packs=valid_packs,
        pack_size=pack_size,
        global_batch_size=batch,
        train_iters=train_iters,
        length=next(iter(lengths_given(config).items()), ("train.num_epochs", 1)),
        warmup_iters=warmup_iters,
        schedule=resolve_schedule(config.loss.stages, train_iters),
        start=start,
        validation=_describe_validation(config, valid_packs, batch),
        notes=_notes(warmup_iters, train_iters, valid_packs),
    )


def find_pack_size(config: SftConfig, data: PreparedData | None) -> int | None:
    """Tokens of a pack: as the data records them, else `dataset.seq_length`; None where neither says."""
    recorded = None if data is None else data.pack_size
    return config.dataset.get("seq_length") if recorded is None else recorded


def lengths_given(config: SftConfig) -> dict[str, int | float]:
    """Collect what sets the length of the run: train.train_iters, train_samples or num_epochs."""
    names = ("train_iters", "train_samples", "num_epochs")
    return {f"train.{name}": config.train[name] for name in names if config.train.get(name) is not None}


def count_iterations(config: SftConfig, train_packs: int | None) -> int | None:
    """Count iterations; one epoch when no length is given. None where the length is in epochs of unknown size.

    Args:
        train_packs: of the train split; None where it cannot be read.
    """
    batch = config.train["global_batch_size"]
    if (iterations := config.train.get("train_iters")) is not None:
        return iterations
    if (samples := config.train.get("train_samples")) is not None:
        return samples // batch
    if train_packs is None:
        return None
    epochs = config.train.get("num_epochs")
    return max(1, round((1 if epochs is None else epochs) * (train_packs // batch)))


def count_warm_up(config: SftConfig) -> int:
    """Count warm-up iterations. Given in samples, the warm-up is rounded up to whole iterations."""
    samples = config.scheduler.get("lr_warmup_samples") or 0
    return math.ceil(samples / config.train["global_batch_size"]) or config.scheduler.get("lr_warmup_iters") or 0


def _notes(warmup_iters: int, train_iters: int, valid_packs: int) -> list[str]:
    notes = []
    if warmup_iters >= train_iters:
        notes.append(
            f"The learning rate is still warming up when the run ends: {warmup_iters:,} iterations of warm-up, "
            f"{train_iters:,} in the run (scheduler.lr_warmup_samples, scheduler.lr_warmup_iters)."
        )
    if not valid_packs:
        notes.append("The valid split is empty: no validation.")
    return notes


def _describe_validation(config: SftConfig, valid_packs: int, batch: int) -> str:
    iterations, interval = (config.validation.get(key) for key in ("eval_iters", "eval_interval"))
    largest = config.validation.get("eval_global_batch_size") or batch
    if not valid_packs or iterations == 0:
        return "none: the valid split is empty" if not valid_packs else "none (validation.eval_iters=0)"
    when = f"every {interval:,} iterations and at the end" if interval else "at the end"
    if iterations is None or iterations * largest >= valid_packs:
        return f"{when}, the whole valid split"
    return f"{when}, {iterations * largest:,} of {valid_packs:,} packs: the next ones each time"
