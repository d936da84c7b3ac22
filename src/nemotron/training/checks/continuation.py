"""Refuse to resume a checkpoint as another run than it is of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.checkpoints.reader import latest_iteration, run_config, run_of
from nemotron.training.checkpoints.run_folder import (
    _identity,
    _recorded,
    _start,
    _whence,
    checkpoint_folder,
    finished_iterations,
    read_records,
    resume_folder,
)
from nemotron.training.config import SftConfig
from nemotron.training.objective.loss import Schedule
from nemotron.training.prepared_data import PreparedData


def check_continuation(config: SftConfig, data: PreparedData, schedule: Schedule, train_iters: int) -> list[str]:
    """Refuse to continue a checkpoint as another run than it is of; what else changes from here on, a line each.

    Raises:
        UserError: naming what differs, or that there is nothing left to do for a run that was continued elsewhere.
    """
    output = Path(config.run.output_dir).absolute()
    resumed = resume_folder(config, output)
    finished = finished_iterations(resumed)
    check_same_run(output, config, data)
    if not finished:
        return []
    iteration = latest_iteration(resumed)
    is_own = resumed == checkpoint_folder(config, output)
    if not is_own and finished >= train_iters:
        raise UserError(
            f"The run saved in {resumed} has {finished:,} iterations already, and this one is to have {train_iters:,}.",
            "Raise train.train_iters, or leave checkpoint.load out.",
        )
    trained_in = output if is_own else run_of(iteration) or output
    records = read_records(trained_in / "metrics.jsonl")
    check_same_stages(records, schedule, min(finished, train_iters))
    if batch := config.train.get("global_batch_size"):
        check_batch_size(records, finished, data.packs["train"], batch, train_iters)
    return changed_settings(config, iteration)


def check_same_run(output: Path, config: SftConfig, data: PreparedData) -> None:
    """Refuse to continue a checkpoint with another model, other data or other adapters.

    Raises:
        UserError: naming what differs.
    """
    resumed = resume_folder(config, output)
    if not finished_iterations(resumed):
        return
    is_own = resumed == checkpoint_folder(config, output)
    before = _recorded(output, resumed)
    if "start" in before:
        before["start"] = _start(before["start"])  # of a record that has it as it was typed
    for name, value in _identity(config, data).items():
        # Continued elsewhere, a run need not say again what it started from.
        if name in before and before[name] != value and (is_own or name != "start"):
            theirs, ours = before[name], value
            if name == "data":  # digests say only that they differ
                theirs = f"{theirs} ({before['data_from']})" if "data_from" in before else theirs
                ours = f"{ours} ({_whence(data)})"
            raise UserError(
                f"{output if is_own else resumed} holds a run with {name} {theirs}, but this one has {name} {ours}.",
                "Choose another folder with run.output_dir=..., or delete that one to start anew."
                if is_own
                else "To take only its weights, use checkpoint.pretrained_checkpoint instead of checkpoint.load.",
            )


_FIXED = (
    *("optimizer.lr", "optimizer.min_lr"),
    *("scheduler.start_weight_decay", "scheduler.end_weight_decay"),
    "model.mtp_num_layers",
)
"""What Megatron-Core tells groups of weights by when it loads an optimizer's state (core/optimizer/optimizer.py): with
other values it finds none of them again. And what decides which weights there are."""


_FREE = (
    *("train.global_batch_size", "scheduler.lr_decay_style", "model.mtp_loss_scaling_factor"),
    *("optimizer.adam_beta1", "optimizer.adam_beta2", "optimizer.adam_eps", "optimizer.clip_grad"),
)


def changed_settings(config: SftConfig, iteration_dir: Path) -> list[str]:
    """What trains differently from here on than in the checkpoint, a line each; () for a checkpoint that does not say.

    Args:
        iteration_dir: the checkpoint that the run continues from.

    Raises:
        UserError: a setting changed that Megatron cannot change in the middle of a run.
    """
    saved = run_config(iteration_dir)
    lines = []
    for key in (*_FIXED, *_FREE):
        section, name = key.split(".")
        now, before = getattr(config, section).get(name), (saved.get(section) or {}).get(name)
        if name not in getattr(config, section) or name not in (saved.get(section) or {}):
            continue
        if (now or None) == (before or None):
            continue
        if key in _FIXED:
            raise UserError(
                f"{key} is {now}, but the run in {iteration_dir.parent} was trained with {before}, which cannot change "
                "in the middle of a run.",
                f"Leave it at {before}, or start a new run from its weights: "
                f"run.output_dir=... checkpoint.pretrained_checkpoint={iteration_dir.parent}",
            )
        lines.append(f"{key} is {now} from here on; it was {before}.")
    return lines


def check_batch_size(
    records: Sequence[Mapping[str, Any]], finished: int, packs: int, batch: int, train_iters: int
) -> None:
    """Refuse a batch size with which training would stand still at the end of an epoch (see `batches.stuck_at`).

    Args:
        records: of metrics.jsonl.
        finished: iterations in the checkpoint.
        packs: of the train split.
        batch: train.global_batch_size from here on.

    Raises:
        UserError: as said.
    """
    last = next((record for record in reversed(records) if record["iteration"] == finished), {})
    consumed = last.get("consumed_samples")
    if consumed is None or (at := stuck_at(consumed, packs, batch, train_iters - finished)) is None:
        return
    raise UserError(
        f"train.global_batch_size={batch} cannot go on from the {consumed:,} packs trained so far: after {at:,} packs "
        f"less than a batch is left of an epoch of {packs:,}, and Megatron-Bridge would wait for it forever.",
        f"Use a size that divides {consumed:,}, or the one it was; or start a new run from its weights "
        "(checkpoint.pretrained_checkpoint).",
    )


def check_same_stages(records: Sequence[Mapping[str, Any]], schedule: Schedule, finished: int) -> None:
    """Refuse a schedule under which an iteration that is already trained would have averaged differently.

    A stage's start as a fraction moves when `train_iters` is raised.

    Args:
        records: of metrics.jsonl.
        schedule: of the run that is going to continue.
        finished: iterations in the checkpoint.

    Raises:
        UserError: naming the first such iteration, and the stages as they were.
    """
    trained = [record for record in records if record["iteration"] <= finished]
    for record in trained:
        average = schedule.average_at(record["iteration"] - 1)
        if average != record["loss_stage"]:
            raise UserError(
                f"Iteration {record['iteration']} was trained on the {record['loss_stage']} average, but loss.stages "
                f"now says {average}: {schedule.describe()}.",
                "Give the starts of stages as iterations, as they were; a fraction moves with train.train_iters.",
            )


def stuck_at(consumed: int, packs: int, batch: int, iterations: int) -> int | None:
    """After how many packs training would wait for a batch forever; None if it would not.

    The sampler (MegatronPretrainingBatchSampler, megatron/bridge/data/samplers.py) takes its place in an epoch from the
    packs consumed, and yields nothing where less than a batch is left behind it. That can only happen after the batch
    was another one.

    Args:
        consumed: packs trained so far.
        packs: of the train split.
        batch: from here on.
        iterations: left.
    """
    per_epoch = packs // batch * batch
    while iterations > 0:
        batches = (packs - consumed % per_epoch) // batch
        if batches == 0:
            return consumed
        consumed += batches * batch
        iterations -= batches
    return None
