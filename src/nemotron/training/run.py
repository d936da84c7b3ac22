"""Run training, from a config to a checkpoint: read this module first."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nemotron.config import Loaded
from nemotron.errors import refuse
from nemotron.files.atomic_files import write_text
from nemotron.lineage.tracking import hand_over
from nemotron.training.backend import BackendName, choose_backend
from nemotron.training.checkpoints.foreign_code import find_code_to_load
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.run_folder import RunFolder, find_run_folder
from nemotron.training.checkpoints.run_lock import hold
from nemotron.training.checkpoints.run_record import read_records
from nemotron.training.checks.continuation import describe_changes, describe_resume
from nemotron.training.checks.inputs import check_inputs
from nemotron.training.checks.machine import check_machine
from nemotron.training.config import SftConfig
from nemotron.training.finetune import run_finetune
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData, find_data
from nemotron.training.ranks import count_ranks, is_first, is_first_here
from nemotron.training.reporting.mask_output import mask_output
from nemotron.training.reporting.report.live import (
    OnRecord,
    describe_start,
    keep_report,
    report_session,
    report_start,
    say,
)
from nemotron.training.reporting.report.page import REPORT, write_report
from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.wandb_run import wandb_run
from nemotron.training.weights.export_run import FinishedRun, Recorded, record_model


@dataclass(frozen=True)
class TrainResult:
    """The results of a run, and where they are."""

    plan: Plan
    output_dir: Path
    checkpoint: Path
    metrics: Path
    records: list[dict[str, Any]]
    """The records of metrics.jsonl, from iteration 1."""
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    """The records of test.jsonl: one, if the test split was evaluated."""
    report: Path
    """report.html."""
    resumed_from: int
    """Iterations finished before this run; `plan.train_iters` if there was nothing left to do."""
    finished: int
    """Iterations in the last checkpoint; fewer than `plan.train_iters` if a signal stopped the run."""
    stopped: bool
    """Whether a signal or a time limit ended the run. The same command continues it, if only to evaluate and export."""
    artifact: str
    """The model artifact, as `name:version`; empty if the run was stopped."""
    hf_folder: Path | None
    """The Hugging Face export, if one was requested."""
    hf_artifact: str
    """The artifact of the export, as `name:version`; empty without one."""


def train(loaded: Loaded[SftConfig], on_record: OnRecord | None = None) -> TrainResult:
    """Fine-tune with a config, or continue where a run in the same folder stopped.

    Under torchrun every rank calls this with the same arguments.

    Args:
        loaded: The config, with where each value came from.
        on_record: Called with progress. If it is given, Megatron's output goes to train.log instead of the terminal.

    Raises:
        UserError: The config, the data, the output folder or this machine do not fit; it lists all problems.
    """
    config, ready = loaded.config, _look(loaded)
    plan, data, output = ready.plan, ready.data, ready.run.output
    output.mkdir(parents=True, exist_ok=True)
    resumed_from, stopped, made = min(ready.run.finished, plan.train_iters), False, Recorded()
    with wandb_run(loaded, ready.run, has_work=ready.has_work) as wandb:
        notes = [*plan.notes, *ready.notes, *wandb.describe()]
        with hold(ready.run, config.convert_to_hf.timeout_minutes) as run:
            report_start(on_record, plan.train_iters, resumed_from, notes)
            if is_first():
                write_text(output / "config.yaml", loaded.to_yaml())
            if ready.has_work:
                with mask_output(None if on_record is None else output / "train.log"):
                    facts = describe_start(loaded, plan, data, notes)
                    record = keep_report(output, config.checkpoint.get("save_interval"), on_record)
                    with report_session(output, facts, run.count_finished, is_writer=is_first()) as session:
                        session.stopped = stopped = run_finetune(
                            loaded, plan, data, run, ready.backend, partial(say, on_record), record, wandb.opened
                        )
            newest = run.look_again()
            finished = min(newest.iteration, plan.train_iters)
            is_complete = finished == plan.train_iters and not stopped
            records = {name: read_records(output / f"{name}.jsonl") for name in ("metrics", "validation", "test")}
            if is_first():
                if not (output / REPORT).is_file():
                    write_report(RunFiles(output))
                if is_complete and newest.checkpoint is not None:
                    made = record_model(FinishedRun(loaded, plan, data, run, newest.checkpoint, records))
                hand_over(output)
        wandb.record_end({"validation": records["validation"], "test": records["test"]}, stopped=stopped)
    return TrainResult(
        plan=plan,
        output_dir=output,
        checkpoint=run.checkpoints,
        metrics=output / "metrics.jsonl",
        records=records["metrics"],
        validation=records["validation"],
        test=records["test"],
        report=output / REPORT,
        resumed_from=resumed_from,
        finished=finished,
        stopped=stopped,
        artifact=made.artifact,
        hf_folder=made.hf_folder,
        hf_artifact=made.hf_artifact,
    )


@dataclass(frozen=True)
class _Ready:
    """A run that may start: what was found, looked at once."""

    plan: Plan
    data: PreparedData
    run: RunFolder
    backend: BackendName
    has_work: bool
    """Whether anything is left to train or to evaluate."""
    notes: list[str]
    """What a user should know, a line each."""


def _look(loaded: Loaded[SftConfig]) -> _Ready:
    """Look at everything that a run needs, and refuse it with all problems."""
    config = loaded.config
    start = find_start(config)
    data, missing = find_data(config, loaded.name)
    run, backend = find_run_folder(config, data, start), choose_backend(config.run.backend)
    plan, problems = check_inputs(config, data, start, count_ranks(), run)
    machine = check_machine(config, data, start, run, plan, backend)
    notes = [*describe_resume(run), *describe_changes(config, run), *backend.notes]
    foreign_code = find_code_to_load(start.megatron, run.base, run.newest) if is_first_here() else ()
    refuse([*missing, *problems, *machine, *foreign_code])
    assert data is not None
    assert plan is not None
    is_tested = not config.test.enabled or data.folder("test") is None or plan.train_iters in run.tested
    has_work = run.finished < plan.train_iters or not is_tested
    return _Ready(plan, data, run, backend.name, has_work, notes)
