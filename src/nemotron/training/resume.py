"""Continuing a run: what is on disk, and whether it belongs to the same run."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.paths import expand_home
from nemotron.training.batches import stuck_at
from nemotron.training.checkpoint import RUN_RECORD, latest_iteration, record_of, run_config, run_of
from nemotron.training.checks import is_path
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.loss import Schedule
from nemotron.training.prepared import PreparedData


def checkpoint_folder(config: SftConfig, output: Path) -> Path:
    """Where a run that writes to `output` saves: `checkpoint.save`, or `checkpoints` below it."""
    return Path(config.checkpoint.get("save") or output / "checkpoints").absolute()


def resume_folder(config: SftConfig, output: Path) -> Path:
    """Where the checkpoint to continue from is, if there is one: among this run's own; else in `checkpoint.load`.

    Raises:
        UserError: `checkpoint.load` is needed and holds no checkpoint.
    """
    own, other = checkpoint_folder(config, output), config.checkpoint.get("load")
    if other is None or finished_iterations(own):
        return own
    folder = Path(other).absolute()
    if not finished_iterations(folder):
        raise UserError(
            f"checkpoint.load is {other}, which holds no finished Megatron checkpoint to continue from.",
            "Name the folder that a run saved to. To start from weights alone, use checkpoint.pretrained_checkpoint.",
        )
    return folder


def finished_iterations(checkpoints: Path) -> int:
    """The iteration of the newest complete checkpoint, 0 when there is none.

    Megatron writes the tracker file last (megatron/bridge/training/checkpointing.py), so a save that was cut short does
    not count.
    """
    try:
        return int((checkpoints / "latest_checkpointed_iteration.txt").read_text().strip())
    except (FileNotFoundError, ValueError):
        return 0


def read_records(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; empty when it is absent."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    # Without its newline the last line is still being written.
    return [json.loads(line) for line in lines[:-1] if line.strip()]


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


def claim_run(output: Path, config: SftConfig, data: PreparedData) -> None:
    """Keep what identifies the run in run.json, in its output folder, and beside its checkpoints if elsewhere.

    A folder without a checkpoint is anybody's; one with a checkpoint keeps its record.
    """
    own = checkpoint_folder(config, output)
    if finished_iterations(own) and (output / RUN_RECORD).is_file():
        return
    # The export reads where the model's config and the checkpoints are; a refusal to continue says where the data was.
    where = {"hf_model": config.recipe.hf_model, "checkpoints": str(own), "output_dir": str(output)}
    where["data_from"] = _whence(data)
    record = {**where, **_identity(config, data)}
    _write(output / RUN_RECORD, record)
    if output not in own.parents:
        _write(own / RUN_RECORD, record)


def _identity(config: SftConfig, data: PreparedData) -> dict[str, Any]:
    return {
        "model": _model(config.recipe.hf_model),
        "start": _start(
            config.checkpoint.get("pretrained_checkpoint") or config.run.model or config.recipe.random_start
        ),
        "data": data.metadata.get("run_hash") or data.reference,
        "pack_size": data.metadata.get("pack_size"),
        "adapters": _adapters(config.peft),
    }


def _recorded(output: Path, resumed: Path) -> dict[str, Any]:
    """What identifies the run in a folder of checkpoints: its record, or what Megatron-Bridge's own config says."""
    iteration = latest_iteration(resumed)
    record = record_of(iteration)
    if record:
        return record
    own = output / RUN_RECORD
    if own.is_file():
        return json.loads(own.read_text(encoding="utf-8"))
    saved = run_config(iteration)
    return {"adapters": None} if saved and saved.get("peft") is None else {}


def _write(record: Path, content: Mapping[str, Any]) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, record)


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


def _whence(data: PreparedData) -> str:
    """The artifact of the data, if it is one, and its folder."""
    return ", ".join(dict.fromkeys([data.reference, str(data.splits)]))


def _start(named: Any) -> Any:
    """A checkpoint by where it lies, however its path was written; an artifact or a seed as it is."""
    return str(expand_home(named).resolve()) if isinstance(named, str) and is_path(named) else named


def _model(hf_model: str) -> str:
    """A folder by its name and its config's content, wherever it lies; a Hugging Face id as it is."""
    file = Path(hf_model) / "config.json"
    if not file.is_file():
        return hf_model
    return f"{Path(hf_model).name} (config {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"


def _adapters(peft: PeftConfig | None) -> str | None:
    if peft is None:
        return None
    return f"{peft.scheme}, dim {peft.dim}, alpha {peft.alpha}, on {' '.join(sorted(peft.target_modules))}"
