"""Write the records of a run: metrics.jsonl, validation.jsonl and test.jsonl.

Each has one JSON object per iteration or evaluation.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from megatron.bridge.training.callbacks import Callback, CallbackContext

from nemotron.files.atomic_files import write_text
from nemotron.files.regular_files import open_file
from nemotron.training import bridge
from nemotron.training.checkpoints.run_record import read_records
from nemotron.training.objective.forward_step import TwoStageStep

Record = dict[str, Any]
Split = Literal["valid", "test"]
_EVALUATIONS: dict[Split, str] = {"valid": "validation", "test": "test"}


class MetricsWriter(Callback):
    """Writes the records of a run, and calls `on_record` with each.

    Only the last rank writes, because it is on the last pipeline stage, where Megatron reduces the losses. A record is
    flushed as soon as it is complete. A resumed run first drops the records of iterations that it is going to repeat.
    fields.py describes each field.

    Attributes:
        iteration: The current iteration, from 1; None before the first.
    """

    def __init__(
        self, folder: Path, valid_packs: int, step: TwoStageStep, on_record: Callable[[str, Record], None] | None
    ) -> None:
        self._metrics = folder / "metrics.jsonl"
        self._evaluations = {split: folder / f"{name}.jsonl" for split, name in _EVALUATIONS.items()}
        self._valid_packs = valid_packs
        self._step = step
        self._on_record = on_record
        self.iteration: int | None = None
        self._step_started = 0.0
        self._lr = 0.0
        self._evaluated: int | None = None
        self._skipped_before = 0

    def on_train_start(self, context: CallbackContext) -> None:
        """Drop what a killed run wrote after its last checkpoint."""
        finished = context.state.train_state.step
        if _is_writer():
            for path in (self._metrics, *self._evaluations.values()):
                keep_until(path, finished)
            earlier = read_records(self._metrics)
            self._skipped_before = earlier[-1].get("skipped_batches", 0) if earlier else 0
            # A run that is resumed only for the test evaluates the valid split again when it ends.
            self._evaluated = last_iteration(self._evaluations["valid"])

    def on_train_step_start(self, context: CallbackContext) -> None:
        """Note the start time and the learning rate of the iteration.

        The scheduler changes the learning rate before the iteration ends.
        """
        self.iteration = context.state.train_state.step + 1
        self._step_started = time.perf_counter()
        if context.optimizer is not None:
            self._lr = next((group["lr"] for group in context.optimizer.param_groups if group), 0.0)

    def on_train_step_end(self, context: CallbackContext) -> None:
        """Write the record of the iteration, if it is due at the log interval."""
        state: Any = context.state
        iteration = state.train_state.step + 1
        last = iteration == state.cfg.train.train_iters
        if not _is_writer() or (iteration % state.cfg.logger.log_interval and not last):
            return
        losses = _numbers(context.loss_dict or {})
        record: Record = {
            "iteration": iteration,
            "consumed_samples": state.train_state.consumed_train_samples + state.cfg.train.global_batch_size,
            "loss_stage": self._step.average,
            "sample_unit": self._step.sample_unit,
            **losses,
            "lr": float(self._lr),
            "grad_norm": None if context.grad_norm is None else float(context.grad_norm),
            "supervised_tokens": int(self._step.totals.supervised_tokens),
            "conversations": _count(float(self._step.totals.conversations)),
            "skipped_batches": self._skipped_before + self._step.skipped,
            "seconds": round(time.perf_counter() - self._step_started, 4),
            **_memory(),
        }
        self._write(self._metrics, "train", record)

    def on_eval_end(self, context: CallbackContext) -> None:
        """Write the record of an evaluation on the valid split."""
        state: Any = context.state
        finished = state.train_state.step
        # Megatron evaluates again when training ends, even right after the last scheduled evaluation.
        if finished != self._evaluated:
            self._evaluated = finished
            packs = bridge.installed().count_evaluated_packs(state.cfg, self._valid_packs)
            self._write_evaluation("valid", finished, context.total_loss_dict or {}, packs)
        torch.distributed.barrier()  # another rank reads the file when training ends

    def write_evaluation(self, split: Split, finished: int, losses: Mapping[str, Any], packs: int) -> None:
        """Write the record of one evaluation of `packs` packs after `finished` iterations.

        Every rank calls this. The record is on disk when it returns.
        """
        self._write_evaluation(split, finished, losses, packs)
        torch.distributed.barrier()

    def _write_evaluation(self, split: Split, finished: int, losses: Mapping[str, Any], packs: int) -> None:
        if _is_writer() and losses:
            numbers = _numbers(losses)
            numbers.pop("lm_loss", None)  # one of the other two, depending on the stage
            self._write(self._evaluations[split], split, {"iteration": finished, "packs": packs, **numbers})

    def _write(self, path: Path, kind: str, record: Record) -> None:
        with open_file(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._on_record is not None:
            self._on_record(kind, record)


def keep_until(path: Path, iteration: int) -> None:
    """Rewrite a JSON-lines file with only the records up to `iteration`.

    Lines that are not records are dropped too.
    """
    if not path.exists():
        return
    write_text(
        path, "".join(json.dumps(record) + "\n" for record in read_records(path) if record["iteration"] <= iteration)
    )


def last_iteration(path: Path) -> int | None:
    """Read the iteration of the last record of a JSON-lines file.

    It is None if there is no record.
    """
    records = read_records(path)
    return records[-1]["iteration"] if records else None


def _numbers(losses: Mapping[str, Any]) -> dict[str, float | None]:
    """Convert losses to JSON names and numbers; a mean over nothing becomes null.

    `token loss` becomes token_loss, and `mtp depth 1 loss` becomes mtp_1_loss.
    """
    numbers = {name.replace("mtp depth ", "mtp_").replace(" ", "_"): float(value) for name, value in losses.items()}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _memory() -> dict[str, float]:
    """Return the peak memory of this rank's GPU so far.

    The allocator keeps this number, so this does not wait for the GPU.
    """
    if not torch.cuda.is_available():
        return {}
    return {"peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3)}


def _count(samples: float) -> float:
    """Return a whole number as an int; with six digits otherwise."""
    return int(samples) if samples.is_integer() else round(samples, 6)


def _is_writer() -> bool:
    return torch.distributed.get_rank() == torch.distributed.get_world_size() - 1
