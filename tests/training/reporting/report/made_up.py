"""Folders of runs with made-up records: what training leaves, without training."""

import json
from pathlib import Path
from typing import Any

START = {
    "event": "start",
    "time": "2026-01-01T00:00:00+00:00",
    "iteration": 0,
    "name": "tiny",
    "train_iters": 4,
    "pack_size": 1000,
    "machine": {"gpus": None, "device": "CPU", "describe": "1 process on the CPU"},
    "origins": {"optimizer.lr": "command line", "rng.seed": "mine.yaml:3"},
    "notes": [],
}
END = {"event": "end", "time": "2026-01-01T01:00:00+00:00", "iteration": 4, "state": "finished"}


def record(iteration: int, **values: Any) -> dict[str, Any]:
    """A record of an iteration of 8 packs in 2 seconds; the stage changes after the second one."""
    loss = 8.0 - iteration
    stage = "token" if iteration <= 2 else "sample"
    return {
        "iteration": iteration,
        "consumed_samples": 8 * iteration,
        "loss_stage": stage,
        "sample_unit": "conversation",
        "lm_loss": loss,
        "token_loss": loss,
        "sample_loss": loss + 1,
        "mtp_1_loss": loss + 2,
        "mtp_1_acceptance": iteration / 10,
        "lr": 1e-5,
        "grad_norm": 1.0,
        "supervised_tokens": 100,
        "conversations": 10,
        "skipped_batches": 0,
        "seconds": 2.0,
        **values,
    }


def write_run(
    folder: Path,
    records: list[dict[str, Any]] | None = None,
    *,
    validation: list[dict[str, Any]] | None = None,
    history: list[dict[str, Any]] | None = None,
    config: str = "optimizer:\n  lr: 1.0e-5\nrng:\n  seed: 7\ntrain:\n  micro_batch_size: 1\n",
) -> Path:
    """Write a run; by default one of four iterations that finished."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "metrics.jsonl": [record(iteration) for iteration in range(1, 5)] if records is None else records,
        "validation.jsonl": [{"iteration": 4, "packs": 2, "token_loss": 4.5}] if validation is None else validation,
        "history.jsonl": [START, END] if history is None else history,
    }
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text(config)
    return folder
