"""Plan a training run: its steps, epochs, tokens, and the switch between stages.

Nothing here imports Megatron, so a dry run is quick and works anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.counts import Counts
from nemotron.training.objective.loss import Schedule
from nemotron.training.parallelism.flops import flops_per_token
from nemotron.training.parallelism.model_shape import ModelShape
from nemotron.training.prepared_data import PreparedData


@dataclass(frozen=True)
class Plan:
    """What a run will do, in numbers."""

    data: str
    train_packs: int
    valid_packs: int
    pack_size: int
    tokenizer: str | None
    """The tokenizer that training reads the end-of-sequence id from: `tokenizer.tokenizer_model`, else the data's."""
    global_batch_size: int
    train_iters: int
    length: tuple[str, int | float]
    """The key that sets the length of the run, and its value: train.train_iters, train_samples or num_epochs."""
    warmup_iters: int
    decay_iters: int | None
    """After how many iterations the learning rate has decayed; None where the config does not say."""
    schedule: Schedule
    by_conversation: bool
    """Whether a sample is a conversation (`loss.sample_unit`)."""
    start: StartingPoint
    validation: str
    """How the valid split is evaluated, in words."""
    notes: list[str]
    """What is allowed but may not be intended, a line each."""
    flops_per_token: float | None = None
    """Floating-point operations that training spends on a token; None if the model's shape or the data's lengths are
    not known."""

    @property
    def epochs(self) -> float:
        """The number of passes over the train split.

        At the end of an epoch, an incomplete batch is left out and the order is reshuffled.
        """
        return self.train_iters / max(1, self.train_packs // self.global_batch_size)

    def rows(self, layout: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """Return label and value of each line of the preview.

        Args:
            layout: How ranks share the model and the packs, in words (see `parallelism/layout.py`).
        """
        return [
            ("data", f"{self.data} ({self.train_packs:,} train and {self.valid_packs:,} valid packs)"),
            ("pack size", f"{self.pack_size:,} tokens"),
            ("iterations", f"{self.train_iters:,} of {self.global_batch_size:,} packs ({self.epochs:.2f} epochs)"),
            ("tokens", f"up to {self.train_iters * self.global_batch_size * self.pack_size:,}"),
            ("learning-rate warm-up", f"{self.warmup_iters:,} iterations"),
            ("loss averages over", self.schedule.describe()),
            *([("a sample is", "a conversation, all its sequences together")] if self.by_conversation else []),
            ("validation", self.validation),
            ("starts from", self.start.description),
            *layout,
            *(("note", note) for note in self.notes),
        ]


def make_plan(
    config: SftConfig,
    counts: Counts,
    data: PreparedData,
    start: StartingPoint,
    run: RunFolder | None = None,
    shape: ModelShape | None = None,
) -> Plan:
    """Plan a run whose numbers have passed `check_inputs` (checks/inputs.py).

    Args:
        config: The training config.
        counts: The numbers of the run, all known.
        data: The packs.
        start: What the run starts from.
        run: The run's folders, on the machine that trains; None elsewhere.
        shape: The model's shape; None if it is not known.
    """
    if run is not None and run.finished:
        start = replace(start, description=f"iteration {run.finished:,}, saved in {run.resume_from}")
    batch, valid_packs = counts.global_batch_size, data.packs.get("valid", 0)
    assert counts.train_packs is not None
    assert counts.train_iters is not None
    assert counts.pack_size is not None
    assert counts.schedule is not None
    return Plan(
        data=data.reference,
        train_packs=counts.train_packs,
        valid_packs=valid_packs,
        pack_size=counts.pack_size,
        tokenizer=config.tokenizer.get("tokenizer_model") or (data.tokenizer and data.tokenizer.model),
        global_batch_size=batch,
        train_iters=counts.train_iters,
        length=next(iter(counts.lengths.items()), ("train.num_epochs", 1)),
        warmup_iters=counts.warmup_iters,
        decay_iters=counts.decay_iters,
        schedule=counts.schedule,
        by_conversation=config.loss.sample_unit == "conversation",
        start=start,
        validation=_describe_validation(config, valid_packs, batch),
        notes=_notes(counts.warmup_iters, counts.train_iters, valid_packs),
        flops_per_token=None
        if shape is None or data.mean_length is None
        else flops_per_token(shape, data.mean_length, adapters_only=config.peft is not None),
    )


def _notes(warmup_iters: int, train_iters: int, valid_packs: int) -> list[str]:
    notes = []
    if warmup_iters >= train_iters:
        notes.append(
            f"The learning rate is still warming up when the run ends: {warmup_iters:,} iterations of warm-up, "
            f"{train_iters:,} in the run (scheduler.lr_warmup_samples, lr_warmup_iters, lr_warmup_fraction)."
        )
    if not valid_packs:
        notes.append("The valid split is empty, so there is no validation.")
    return notes


def _describe_validation(config: SftConfig, valid_packs: int, batch: int) -> str:
    iterations, interval = (config.validation.get(key) for key in ("eval_iters", "eval_interval"))
    largest = config.validation.get("eval_global_batch_size") or batch
    if not valid_packs or iterations == 0:
        return "none: the valid split is empty" if not valid_packs else "none (validation.eval_iters=0)"
    when = f"every {interval:,} iterations and at the end" if interval else "at the end"
    if iterations is None or iterations * largest >= valid_packs:
        return f"{when}, the whole valid split"
    return f"{when}, on the next {iterations * largest:,} of {valid_packs:,} packs each time"
