"""What a training run will do, from its config and its data: steps, epochs, tokens, the switch between stages.

Nothing here imports Megatron, so the dry-run is quick and works anywhere.
"""

import math
from dataclasses import dataclass

from nemotron.errors import UserError
from nemotron.training.checks import check_padding, check_tokenizer, check_vocabulary, model_config
from nemotron.training.config import SftConfig
from nemotron.training.explain import explain_layout
from nemotron.training.loss import Schedule, resolve_schedule
from nemotron.training.prepared import PreparedData


@dataclass(frozen=True)
class Plan:
    """A run, counted."""

    data: str
    train_packs: int
    valid_packs: int
    pack_size: int
    global_batch_size: int
    train_iters: int
    warmup_iters: int
    schedule: Schedule
    layout: list[tuple[str, str]]
    """How ranks share the model and the packs, in words (see `explain.py`)."""

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
            *self.layout,
        ]


def make_plan(config: SftConfig, data: PreparedData, ranks: int | None = None) -> Plan:
    """Count a run.

    Args:
        ranks: processes in all, where that is known.

    Raises:
        UserError: a batch larger than the train split, a pack size, tokenizer or padding that does not fit the data's,
            or a length that makes no sense.
    """
    _check_numbers(config)
    check_tokenizer(config, data)
    check_padding(config, data)
    if described := model_config(config.recipe.hf_model):
        check_vocabulary(data, described["vocab_size"], config.recipe.hf_model)
    pack_size = _pack_size(config, data)
    batch = _positive_int(config.train.get("global_batch_size"), "train.global_batch_size")
    train_packs = data.packs["train"]
    if train_packs < batch:
        raise UserError(
            f"train.global_batch_size is {batch}, but {data.reference} has only {train_packs} training packs.",
            f"Lower it (train.global_batch_size={train_packs}) or prepare more data.",
        )
    train_iters = _train_iters(config, batch, train_packs)
    return Plan(
        data=data.reference,
        train_packs=train_packs,
        valid_packs=data.packs.get("valid", 0),
        pack_size=pack_size,
        global_batch_size=batch,
        train_iters=train_iters,
        warmup_iters=_warmup_iters(config, batch),
        schedule=resolve_schedule(config.loss.stages, train_iters),
        layout=explain_layout(config, pack_size, ranks),
    )


def _train_iters(config: SftConfig, batch: int, train_packs: int) -> int:
    """Iterations, from the one of train_iters, train_samples and num_epochs that is set; one epoch when none is."""
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
        return _positive_int(given["train_iters"], "train.train_iters")
    if "train_samples" in given:
        samples = _positive_int(given["train_samples"], "train.train_samples")
        if samples < batch:
            raise UserError(
                f"train.train_samples is {samples}, less than one global batch of {batch}.",
                "Raise it, or lower the batch.",
            )
        return samples // batch
    epochs = given.get("num_epochs", 1)
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or epochs <= 0:
        raise UserError(f"train.num_epochs is {epochs!r}.", "Use a positive number; 0.5 is half an epoch.")
    return max(1, round(epochs * (train_packs // batch)))


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


def _check_numbers(config: SftConfig) -> None:
    """The numbers that are calculated with before Megatron-Bridge's classes have checked them."""
    sizes = ("tensor_model", "pipeline_model", "context", "expert_model", "expert_tensor")
    least = {
        "scheduler": {"lr_warmup_samples": 0, "lr_warmup_iters": 0},
        "validation": {"eval_iters": 0, "eval_global_batch_size": 1},
        "logger": {"log_interval": 1},
        "model": {f"{size}_parallel_size": 1 for size in sizes},
    }
    for section, keys in least.items():
        for key, smallest in keys.items():
            value = getattr(config, section).get(key)
            if value is not None:
                _whole(value, f"{section}.{key}", smallest)


def _positive_int(value: object, key: str) -> int:
    return _whole(value, key, 1)


def _whole(value: object, key: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{key} is {value!r}.", f"Use a whole number of at least {least}.")
    return value
