"""Refuse to resume a checkpoint as another run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemotron.errors import Problem
from nemotron.training.checkpoints.run_folder import IDENTITY, RunFolder
from nemotron.training.checkpoints.run_record import RUN_RECORD, find_gaps
from nemotron.training.config import SampleUnit, SftConfig
from nemotron.training.objective.loss import Schedule
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.ranks import is_first

_FIXED = (
    *("optimizer.lr", "optimizer.min_lr"),
    *("scheduler.start_weight_decay", "scheduler.end_weight_decay"),
    "model.mtp_num_layers",
)
"""Settings by which Megatron-Core identifies groups of weights when it loads an optimizer's state
(core/optimizer/optimizer.py), so that other values match no group; and settings that decide which weights there are."""
_LAYOUT = (
    *("model.tensor_model_parallel_size", "model.pipeline_model_parallel_size"),
    *("model.expert_model_parallel_size", "model.expert_tensor_parallel_size"),
)
"""Settings that decide how many optimizers Megatron-Core chains, and which weights each has. State saved with other
sizes does not load (ChainedOptimizer.load_state_dict in core/optimizer/optimizer.py), except in the fully reshardable
form."""
_FREE = (
    *("train.global_batch_size", "scheduler.lr_decay_style", "model.mtp_loss_scaling_factor"),
    *("optimizer.adam_beta1", "optimizer.adam_beta2", "optimizer.adam_eps", "optimizer.clip_grad"),
)


def check_continuation(
    config: SftConfig, data: PreparedData | None, run: RunFolder, plan: Plan | None
) -> Iterator[Problem]:
    """Yield the problems with what is in the run's folders.

    Args:
        config: The training config.
        data: None if it cannot be read.
        run: The run's folders.
        plan: None if its numbers could not be computed.
    """
    if is_first():  # it locks the folder; the others would find it locked
        yield from check_free(run)
    yield from check_load(config, run)
    yield from check_same_run(run)
    if data is not None and plan is not None:
        yield from check_progress(config, data, run, plan)


def check_free(run: RunFolder) -> Iterator[Problem]:
    """Yield a problem if another process trains in the run's folders."""
    if run.holder is not None:
        yield Problem(
            f"{run.output} is being written by {run.holder}.",
            "Wait until it ends, or choose another run.output_dir.",
        )


def check_load(config: SftConfig, run: RunFolder) -> Iterator[Problem]:
    """Yield a problem if there is no complete checkpoint to resume from.

    After an interrupted first save, the run simply starts again.
    """
    if run.newest is not None:
        return
    first_save = config.checkpoint.get("save_interval") or 0
    lost = [each for each in run.skipped if not (each.why.unfinished and each.iteration <= first_save)]
    if lost:
        yield Problem(
            f"{lost[0]}, and no older checkpoint in {run.resume_from} is complete.",
            "Restore that file, or start again in another folder (run.output_dir=...) or after moving this one away.",
        )
    elif run.load is not None:
        yield Problem(
            f"checkpoint.load is {run.load}, which has no complete Megatron checkpoint to resume from.",
            "Use the folder that a run saved to. To start from weights only, set checkpoint.pretrained_checkpoint.",
        )


def describe_resume(run: RunFolder) -> list[str]:
    """Describe skipped checkpoints and unreadable records, a line each."""
    goes_on = f"Continuing from iteration {run.finished:,}." if run.finished else "Starting from the beginning."
    lines = [f"{skipped}. {goes_on}" for skipped in dict.fromkeys([*run.skipped, *run.own.skipped])]
    if run.is_own and run.finished:
        if run.unreadable:
            lines.append(f"{run.output}/metrics.jsonl has unreadable lines ({run.unreadable:,}), which are ignored.")
        elif not run.metrics:
            lines.append(f"{run.output}/metrics.jsonl has no records of the iterations before; its curves begin here.")
        elif gaps := _find_gaps(run):
            spans = [f"{first:,} to {last:,}" if first < last else f"{first:,}" for first, last in gaps]
            named = ", ".join([*spans[:3], *(["..."] if spans[3:] else [])])
            lines.append(f"{run.output}/metrics.jsonl has no records of iterations {named}; its curves skip them.")
        if not run.record:
            lines.append(f"{run.output / RUN_RECORD} cannot be read, so nothing shows that this is the same run.")
    return lines


def _find_gaps(run: RunFolder) -> list[tuple[int, int]]:
    """Find iterations without a record; none if their interval is not known."""
    interval = (run.saved.get("logger") or {}).get("log_interval")
    if not isinstance(interval, int) or interval < 1:
        return []
    return find_gaps(run.metrics, run.finished, interval)


def check_same_run(run: RunFolder) -> Iterator[Problem]:
    """Yield a problem for each difference that makes it another run.

    These are the model, the start, the data, the pack size and the adapters.
    """
    for name in run.identity:
        if name not in IDENTITY or name not in run.record:
            continue
        theirs, ours = run.record[name], run.identity[name]
        # A run that is resumed in another folder need not repeat what it started from.
        if theirs == ours or (name == "start" and not run.is_own):
            continue
        # 0.1.0 recorded an artifact's reference as typed.
        if name == "start" and theirs is not None and theirs == run.identity["start_named"]:
            continue
        if name == "data":  # digests only show that they differ
            theirs = f"{theirs} ({run.record['data_from']})" if "data_from" in run.record else theirs
            ours = f"{ours} ({run.identity['data_from']})"
        yield Problem(
            f"{run.output if run.is_own else run.resume_from} has a run with {name} {theirs}, but this run has "
            f"{name} {ours}.",
            "Choose another folder with run.output_dir=..., or delete this one to start again."
            + (f" To resume it: checkpoint.pretrained_checkpoint={theirs}" if name == "start" else "")
            if run.is_own
            else "To take only its weights, use checkpoint.pretrained_checkpoint instead of checkpoint.load.",
        )


def check_progress(config: SftConfig, data: PreparedData, run: RunFolder, plan: Plan) -> Iterator[Problem]:
    """Yield a problem if the finished iterations do not fit the plan."""
    if not run.finished:
        return
    train_iters = plan.train_iters
    if not run.is_own and run.finished >= train_iters:
        yield Problem(
            f"The run saved in {run.resume_from} already has {run.finished:,} iterations, but this run would have only "
            f"{train_iters:,}.",
            "Raise train.train_iters, or remove checkpoint.load.",
        )
    yield from check_same_unit(run.metrics, config.loss.sample_unit)
    yield from check_batch_size(
        run.metrics, run.finished, data.packs["train"], config.train["global_batch_size"], train_iters
    )
    yield from check_fixed_settings(config, run)
    yield from check_layout(config, run)
    yield from check_same_stages(run.metrics, plan.schedule, min(run.finished, train_iters))


def check_layout(config: SftConfig, run: RunFolder) -> Iterator[Problem]:
    """Yield a problem if the optimizer's state does not load in this layout."""
    is_divided = (run.saved.get("ddp") or {}).get("use_distributed_optimizer")
    if is_divided and (run.saved.get("checkpoint") or {}).get("dist_ckpt_optim_fully_reshardable"):
        return
    changes = [*_changes(config, run, _LAYOUT)] if config.checkpoint.get("load_optim") is not False else []
    if not changes:
        return
    now = ", ".join(f"{key} is {ours}" for key, ours, _ in changes)
    before = " ".join(f"{key}={theirs}" for key, _, theirs in changes)
    yield Problem(
        f"{now}, but the run in {run.resume_from} was saved with {before}, and its optimizer does not load in another "
        "layout.",
        f"Resume with {before}, on any number of ranks that it divides, or start a new run from its weights: "
        f"run.output_dir=... checkpoint.pretrained_checkpoint={run.resume_from}",
    )


def check_fixed_settings(config: SftConfig, run: RunFolder) -> Iterator[Problem]:
    """Yield a problem for each setting that cannot change in the middle of a run."""
    for key, now, before in _changes(config, run, _FIXED):
        yield Problem(
            f"{key} is {now}, but the run in {run.resume_from} was trained with {before}, which cannot change in the "
            "middle of a run.",
            f"Leave it at {before}, or start a new run from its weights: "
            f"run.output_dir=... checkpoint.pretrained_checkpoint={run.resume_from}",
        )


def describe_changes(config: SftConfig, run: RunFolder) -> list[str]:
    """Describe the settings that change from here on, a line each."""
    return [f"{key} is {now} from now on; it was {before}." for key, now, before in _changes(config, run, _FREE)]


def check_batch_size(
    records: Sequence[Mapping[str, Any]], finished: int, packs: int, batch: int, train_iters: int
) -> Iterator[Problem]:
    """Yield a problem for a batch size with which training would hang (`stuck_at`).

    Args:
        records: The records of metrics.jsonl.
        finished: Iterations in the checkpoint.
        packs: Packs in the train split.
        batch: The new train.global_batch_size.
        train_iters: Iterations of the run.
    """
    last = next((record for record in reversed(records) if record["iteration"] == finished), {})
    consumed = last.get("consumed_samples")
    if packs < batch or consumed is None or (at := stuck_at(consumed, packs, batch, train_iters - finished)) is None:
        return
    yield Problem(
        f"train.global_batch_size={batch} does not work after the {consumed:,} packs trained so far: at {at:,} packs "
        f"less than a batch is left of an epoch of {packs:,}, and Megatron-Bridge would hang.",
        f"Use the earlier size, or one that divides {consumed:,}, or start a new run from its weights "
        "(checkpoint.pretrained_checkpoint).",
    )


def check_same_stages(records: Sequence[Mapping[str, Any]], schedule: Schedule, finished: int) -> Iterator[Problem]:
    """Yield a problem for the first iteration that was trained on another average.

    If a stage's start is a fraction, it moves when `train_iters` changes.

    Args:
        records: The records of metrics.jsonl.
        schedule: The schedule of the resumed run.
        finished: Iterations in the checkpoint.
    """
    for record in records:
        average = schedule.average_at(record["iteration"] - 1)
        trained = record.get("loss_stage", average)
        if record["iteration"] <= finished and average != trained:
            yield Problem(
                f"Iteration {record['iteration']} was trained on the {trained} average, but loss.stages "
                f"now says {average}: {schedule.describe()}.",
                "Set the starts of stages to the earlier iterations; a fraction moves with train.train_iters.",
            )
            return


def check_same_unit(records: Sequence[Mapping[str, Any]], sample_unit: SampleUnit) -> Iterator[Problem]:
    """Yield a problem if earlier iterations used another sample unit.

    A curve would mix two losses under one name.

    Args:
        records: The records of metrics.jsonl; 0.1.0 counted sequences.
        sample_unit: The setting of the resumed run.
    """
    trained = records[-1].get("sample_unit", "sequence") if records else sample_unit
    if trained != sample_unit:
        yield Problem(
            f"loss.sample_unit is {sample_unit}, but the run so far was trained with {trained}.",
            f"Leave it at {trained}, or start a new run (run.output_dir=...).",
        )


def stuck_at(consumed: int, packs: int, batch: int, iterations: int) -> int | None:
    """Find after how many packs training would hang; None if it would not.

    The sampler (MegatronPretrainingBatchSampler, megatron/bridge/data/samplers.py) computes its place in an epoch from
    the consumed packs, and yields nothing if less than a batch is left. That can only happen after a change of the
    batch size.

    Args:
        consumed: Packs trained so far.
        packs: Packs in the train split, at least a batch.
        batch: The new batch size.
        iterations: Iterations left.
    """
    per_epoch = packs // batch * batch
    while iterations > 0:
        batches = (packs - consumed % per_epoch) // batch
        if batches == 0:
            return consumed
        consumed += batches * batch
        iterations -= batches
    return None


def _changes(config: SftConfig, run: RunFolder, keys: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield key, new value and old value of each setting that differs.

    Only settings that both config and checkpoint have are compared.
    """
    for key in keys:
        section, name = key.split(".")
        ours, theirs = getattr(config, section), run.saved.get(section) or {}
        if name in ours and name in theirs and (ours[name] or None) != (theirs[name] or None):
            yield key, ours[name], theirs[name]
