"""metrics.jsonl and validation.jsonl: what a run did, one JSON object per logged iteration or evaluation."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from megatron.bridge.training.callbacks import Callback, CallbackContext

from nemotron.training.step import TwoStageStep

Record = dict[str, Any]


class MetricsWriter(Callback):
    """Writes metrics.jsonl and validation.jsonl, and reports each record to `on_record`.

    One rank writes: the last, which is on the last pipeline stage, where Megatron reduces the losses. A record is
    flushed as soon as it is complete. A resumed run first drops the records of iterations that it is going to repeat.

    metrics.jsonl fields: iteration (from 1), consumed_samples (packs, this iteration included), loss_stage ("token" or
    "sample"), lm_loss (the objective trained on), token_loss, sample_loss, mtp_1_loss, mtp_2_loss (each micro-batch's
    mean over its supervised targets, weighted by its supervised tokens), lr, grad_norm, supervised_tokens (N),
    conversations (|B|), seconds (of this iteration).

    validation.jsonl fields: iteration (finished when the split was evaluated), token_loss, sample_loss, both over all
    packs that were evaluated.
    """

    def __init__(self, folder: Path, step: TwoStageStep, on_record: Callable[[str, Record], None] | None) -> None:
        self._metrics = folder / "metrics.jsonl"
        self._validation = folder / "validation.jsonl"
        self._step = step
        self._on_record = on_record
        self.started = False
        self._step_started = 0.0
        self._lr = 0.0
        self._evaluated: int | None = None

    def on_train_start(self, context: CallbackContext) -> None:
        """Drop what a killed run wrote after its last checkpoint."""
        self.started = True
        finished = context.state.train_state.step
        if _is_writer():
            for path in (self._metrics, self._validation):
                keep_until(path, finished)

    def on_train_step_start(self, context: CallbackContext) -> None:
        """Note the time and the learning rate this iteration trains with; the scheduler moves on before its end."""
        self._step_started = time.perf_counter()
        if context.optimizer is not None:
            self._lr = next((group["lr"] for group in context.optimizer.param_groups if group), 0.0)

    def on_train_step_end(self, context: CallbackContext) -> None:
        """Write the record of the iteration, if it is one that is logged."""
        state = context.state
        iteration = state.train_state.step + 1
        last = iteration == state.cfg.train.train_iters
        if not _is_writer() or (iteration % state.cfg.logger.log_interval and not last):
            return
        losses = {name: float(value) for name, value in (context.loss_dict or {}).items()}
        record: Record = {
            "iteration": iteration,
            "consumed_samples": state.train_state.consumed_train_samples + state.cfg.train.global_batch_size,
            "loss_stage": self._step.average,
            "lm_loss": losses.get("lm loss"),
            "token_loss": losses.get("token loss"),
            "sample_loss": losses.get("sample loss"),
            **{name.replace(" ", "_"): value for name, value in losses.items() if name.startswith("mtp_")},
            "lr": float(self._lr),
            "grad_norm": None if context.grad_norm is None else float(context.grad_norm),
            "supervised_tokens": self._step.totals.supervised_tokens,
            "conversations": self._step.totals.conversations,
            "seconds": round(time.perf_counter() - self._step_started, 4),
        }
        self._write(self._metrics, "train", record)

    def on_eval_end(self, context: CallbackContext) -> None:
        """Write the record of an evaluation on the valid split."""
        losses = {name: float(value) for name, value in (context.total_loss_dict or {}).items()}
        if not _is_writer() or "token loss" not in losses or context.state.train_state.step == self._evaluated:
            return
        # Megatron evaluates once more when training ends, also right after the last scheduled evaluation.
        self._evaluated = context.state.train_state.step
        record: Record = {
            "iteration": context.state.train_state.step,
            "token_loss": losses["token loss"],
            "sample_loss": losses["sample loss"],
        }
        self._write(self._validation, "valid", record)

    def _write(self, path: Path, kind: str, record: Record) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._on_record is not None:
            self._on_record(kind, record)


def keep_until(path: Path, iteration: int) -> None:
    """Rewrite a JSON-lines file with only the records up to `iteration`; a torn last line is dropped too."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _iteration_of(line) <= iteration]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(partial, path)


def _iteration_of(line: str) -> float:
    try:
        return json.loads(line)["iteration"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _is_writer() -> bool:
    return torch.distributed.get_rank() == torch.distributed.get_world_size() - 1
