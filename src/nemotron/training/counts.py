"""Count a run from its config and its data: iterations, warm-up, decay, stages."""

import math
from dataclasses import dataclass

from nemotron.training.config import SftConfig
from nemotron.training.objective.loss import Schedule, resolve_schedule
from nemotron.training.prepared_data import PreparedData


@dataclass(frozen=True)
class Counts:
    """The numbers of a run before it is planned; None if they depend on unread data."""

    lengths: dict[str, int | float]
    """The length in the config: train.train_iters, train_samples or num_epochs; more than one is refused."""
    global_batch_size: int
    pack_size: int | None
    """Tokens per pack, as recorded with the data, else `dataset.seq_length`."""
    train_packs: int | None
    train_iters: int | None
    """One epoch if no length is given."""
    warmup_iters: int
    """A warm-up in samples, or as a fraction of the decay, is rounded up to whole iterations."""
    decay_iters: int | None
    """After how many iterations the learning rate has decayed; None where the config does not say."""
    schedule: Schedule | None
    """The stages of the loss as configured, in order or not."""


def count_run(config: SftConfig, data: PreparedData | None) -> Counts:
    """Compute the numbers of a run from config and data.

    The settings must have passed `check_numbers` (checks/settings.py).

    Args:
        config: The training config.
        data: None if it cannot be read.
    """
    batch, packs = config.train["global_batch_size"], None if data is None else data.packs.get("train")
    names = ("train_iters", "train_samples", "num_epochs")
    lengths = {f"train.{name}": config.train[name] for name in names if config.train.get(name) is not None}
    train_iters = _count_iterations(config, packs)
    decay_iters = _count_decay(config)
    starts_are_finite = all(math.isfinite(stage.start) for stage in config.loss.stages)
    return Counts(
        lengths=lengths,
        global_batch_size=batch,
        pack_size=find_pack_size(config, data),
        train_packs=packs,
        train_iters=train_iters,
        warmup_iters=_count_warmup(config, train_iters, decay_iters),
        decay_iters=decay_iters,
        schedule=resolve_schedule(config.loss.stages, train_iters) if train_iters and starts_are_finite else None,
    )


def find_pack_size(config: SftConfig, data: PreparedData | None) -> int | None:
    """Return the tokens per pack, as recorded, else `dataset.seq_length`."""
    recorded = None if data is None else data.pack_size
    return config.dataset.get("seq_length") if recorded is None else recorded


def _count_decay(config: SftConfig) -> int | None:
    scheduler, batch = config.scheduler, config.train["global_batch_size"]
    samples = scheduler.get("lr_decay_samples")
    in_iterations = scheduler.get("lr_decay_iters") or scheduler.get("max_steps")
    return in_iterations if samples is None else math.ceil(samples / batch)


def _count_warmup(config: SftConfig, train_iters: int | None, decay_iters: int | None) -> int:
    scheduler = config.scheduler
    if samples := scheduler.get("lr_warmup_samples"):
        return math.ceil(samples / config.train["global_batch_size"])
    fraction = scheduler.get("lr_warmup_fraction") or 0
    return scheduler.get("lr_warmup_iters") or math.ceil(fraction * (decay_iters or train_iters or 0))


def _count_iterations(config: SftConfig, train_packs: int | None) -> int | None:
    batch = config.train["global_batch_size"]
    if (iterations := config.train.get("train_iters")) is not None:
        return iterations
    if (samples := config.train.get("train_samples")) is not None:
        return samples // batch
    if train_packs is None:
        return None
    epochs = config.train.get("num_epochs")
    return max(1, round((1 if epochs is None else epochs) * (train_packs // batch)))
