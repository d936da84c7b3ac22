"""Check the numbers of a run.

These are length, warm-up, batch, stages of the loss, pack size and parallel sizes.
"""

from collections.abc import Iterator
from itertools import pairwise

from nemotron.errors import Problem
from nemotron.training.config import SftConfig, StageConfig
from nemotron.training.counts import Counts
from nemotron.training.objective.loss import Schedule
from nemotron.training.parallelism.divisibility import find_faults, find_pack_fault, find_rank_faults, parallel_sizes
from nemotron.training.parallelism.model_shape import ModelShape
from nemotron.training.prepared_data import PreparedData


def check_length(config: SftConfig, counts: Counts, data: PreparedData | None) -> Iterator[Problem]:
    """Yield problems with the length, the warm-up, the batch and the loss stages.

    Args:
        config: The training config.
        counts: The numbers of the run; checks of unknown numbers are skipped.
        data: For the message; None if it cannot be read.
    """
    if len(counts.lengths) > 1:
        given = ", ".join(f"{key}={value}" for key, value in counts.lengths.items())
        yield Problem(
            f"The length of the run is given more than once: {given}.",
            "Keep one and set the others to null.",
        )
    batch, samples = counts.global_batch_size, counts.lengths.get("train.train_samples")
    if samples is not None and samples < batch:
        yield Problem(
            f"train.train_samples is {samples}, less than one global batch of {batch}.",
            "Raise it, or lower train.global_batch_size.",
        )
    if data is not None and counts.train_packs is not None and counts.train_packs < batch:
        packs = "1 training pack" if counts.train_packs == 1 else f"{counts.train_packs} training packs"
        yield Problem(
            f"train.global_batch_size is {batch}, but {data.reference} has only {packs}.",
            f"Lower it (train.global_batch_size={counts.train_packs}) or prepare more data.",
        )
    yield from _check_warm_up(config, counts)
    if counts.train_iters:  # 0 is refused above
        yield from check_stages(config.loss.stages, counts.train_iters, counts.schedule)


def check_stages(stages: list[StageConfig], train_iters: int, schedule: Schedule | None) -> Iterator[Problem]:
    """Yield a problem for stages that start outside the run or out of order.

    Args:
        stages: The stages in the config.
        train_iters: Iterations of the run.
        schedule: The stages resolved for the run; None if a start is not finite.
    """
    if not stages:
        yield Problem("loss.stages is empty.", "Add at least one stage: loss.stages=[{average: token}].")
        return
    outside = [*_check_starts(stages, train_iters)]
    yield from outside
    if outside or schedule is None:
        return
    if not schedule.stages or schedule.stages[0].start != 0:
        yield Problem(
            f"loss.stages[0].start is {stages[0].start}: no stage covers iteration 1.", "Start the first stage at 0."
        )
        return
    for index, (before, after) in enumerate(pairwise(schedule.stages)):
        if after.start <= before.start:
            yield Problem(
                f"loss.stages[{index + 1}] starts at iteration {after.start}, "
                f"not after loss.stages[{index}] at {before.start}.",
                "List the stages in the order in which they start, each later than the one before.",
            )
            return


def check_pack_size(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem if the pack size is unknown, or the config has another one."""
    asked, model = config.dataset.get("seq_length"), config.model.get("seq_length")
    if data.pack_size is None and asked is None:
        yield Problem(
            f"{data.reference} does not record its pack size.", "Set dataset.seq_length to the pack size of the data."
        )
    elif None not in (data.pack_size, asked) and data.pack_size != asked:
        yield Problem(
            f"dataset.seq_length is {asked}, but {data.reference} was packed to {data.pack_size} tokens.",
            f"Remove dataset.seq_length, or prepare the data with pack_size={asked}.",
        )
    elif model is not None and model != (pack_size := data.pack_size or asked):
        yield Problem(
            f"model.seq_length is {model!r}, but it must be {pack_size}, the pack size of the data.",
            "Remove model.seq_length.",
        )


def check_parallel_sizes(
    config: SftConfig, shape: ModelShape | None, pack_size: int | None, ranks: int | None
) -> Iterator[Problem]:
    """Yield a problem for each parallel size that does not divide what it must divide.

    The rules are in parallelism/divisibility.py.

    Args:
        config: The training config.
        shape: The shape of the model; None if it is not known.
        pack_size: Tokens per pack; None if it is not known.
        ranks: Number of processes; None if it is not known.
    """
    sizes = parallel_sizes(config)
    if shape is not None:
        yield from find_faults(config.model, shape, sizes, pack_size)
    if pack_size is not None:
        yield from find_pack_fault(sizes["context"], pack_size)
    if ranks is not None:
        yield from find_rank_faults(sizes, ranks, config.train.get("global_batch_size") or 1)


def _check_warm_up(config: SftConfig, counts: Counts) -> Iterator[Problem]:
    keys = [f"scheduler.lr_warmup_{unit}" for unit in ("samples", "iters", "fraction")]
    given = [f"{key}={value}" for key in keys if (value := config.scheduler.get(key.removeprefix("scheduler.")))]
    if len(given) > 1:
        yield Problem(f"The warm-up is given twice: {' and '.join(given)}.", "Keep one and set the others to 0.")
    # Without a setting, the decay is the cosine of Megatron-Bridge's recipe.
    decays = config.scheduler.get("lr_decay_style", "cosine") != "constant"
    if decays and counts.train_iters and counts.warmup_iters >= counts.train_iters:
        yield Problem(
            f"The learning rate warms up for {counts.warmup_iters:,} iterations, but the run has only "
            f"{counts.train_iters:,}.",
            "Shorten it with scheduler.lr_warmup_iters or scheduler.lr_warmup_samples, or train longer.",
        )


def _check_starts(stages: list[StageConfig], train_iters: int) -> Iterator[Problem]:
    for index, stage in enumerate(stages):
        key, start = f"loss.stages[{index}].start", stage.start
        if isinstance(start, float):
            if not 0 <= start < 1:  # nor nan
                whole = int(start) if abs(start) < 1e9 else 100
                yield Problem(
                    f"{key} is {start}: a fraction of train_iters must be at least 0 and below 1.",
                    f"For an iteration, write a whole number: start: {whole}.",
                )
        elif start < 0:
            yield Problem(f"{key} is {start}: a stage cannot start before the run.", "Use 0 or more.")
        elif start >= train_iters:
            yield Problem(
                f"{key} is {start}, but the run ends after {train_iters} iterations, so the stage never starts.",
                "Start it earlier, or raise train.train_iters.",
            )
