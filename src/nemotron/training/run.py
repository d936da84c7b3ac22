"""Run training, from a config to a checkpoint: read this module first."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.atomic_files import write_text
from nemotron.config import Loaded
from nemotron.errors import refuse
from nemotron.lineage.tracking import hand_over
from nemotron.training.backend import Backend, choose_backend
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
from nemotron.training.reporting.report.live import OnRecord, keep_report, report_session
from nemotron.training.reporting.report.page import REPORT, write_report
from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.report.start_facts import describe_start
from nemotron.training.reporting.wandb_run import wandb_run
from nemotron.training.weights.export_run import export_run, log_model

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run


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
    run.output.mkdir(parents=True, exist_ok=True)
    is_tested = not config.test.enabled or data.folder("test") is None or plan.train_iters in run.tested
    has_work = run.finished < plan.train_iters or not is_tested
    with wandb_run(loaded, run, has_work=has_work) as wandb:
        notes += wandb.describe()
        with hold(run, config.convert_to_hf.timeout_minutes) as held:
            result = _train(loaded, plan, data, held, backend, notes, on_record, wandb.opened, has_work=has_work)
        evaluated = {"validation": result.validation, "test": result.test}
        wandb.record_end(run.output, evaluated, stopped=result.stopped)
    return result


def _train(
    loaded: Loaded[SftConfig],
    plan: Plan,
    data: PreparedData,
    run: RunFolder,
    backend: Backend,
    notes: list[str],
    on_record: OnRecord | None,
    opened: "Run | None",
    *,
    has_work: bool,
) -> TrainResult:
    """Train in a folder that no other process writes to, after all checks."""
    config = loaded.config
    resumed_from = min(run.finished, plan.train_iters)
    _report_start(on_record, plan, resumed_from, [*plan.notes, *notes])
    if is_first():
        write_text(run.output / "config.yaml", loaded.to_yaml())

    stopped = False
    with mask_output(None if on_record is None else run.output / "train.log"):
        if has_work:
            evaluate_only = resumed_from == plan.train_iters
            facts = describe_start(loaded, plan, data, [*plan.notes, *notes])
            say, record = (
                partial(_say, on_record),
                keep_report(run.output, config.checkpoint.get("save_interval"), on_record),
            )
            with report_session(run.output, facts, run.count_finished, is_writer=is_first()) as session:
                session.stopped = stopped = run_finetune(
                    loaded, plan, data, run, backend.name, say, record, opened, evaluate_only=evaluate_only
                )
    newest = run.look_again()
    finished = min(newest.iteration, plan.train_iters)
    is_complete = finished == plan.train_iters and not stopped

    records = {name: read_records(run.output / f"{name}.jsonl") for name in ("metrics", "validation", "test")}
    report, artifact, hf_folder, hf_artifact = run.output / REPORT, "", None, ""
    if is_first():
        if not report.is_file():
            write_report(RunFiles(run.output))
        if is_complete and newest.folder is not None:
            artifact = log_model(loaded, plan, data, run, newest.folder, records)
        if is_complete and config.convert_to_hf.enabled:
            # The model is recorded already, in case this fails or is killed.
            hf_folder, hf_artifact = export_run(loaded, plan, run, artifact)
        hand_over(run.output)
    return TrainResult(
        plan=plan,
        output_dir=run.output,
        checkpoint=run.checkpoints,
        metrics=run.output / "metrics.jsonl",
        records=records["metrics"],
        validation=records["validation"],
        test=records["test"],
        report=report,
        resumed_from=resumed_from,
        finished=finished,
        stopped=stopped,
        artifact=artifact,
        hf_folder=hf_folder,
        hf_artifact=hf_artifact,
    )


def _report_start(on_record: OnRecord | None, plan: Plan, resumed_from: int, notes: list[str]) -> None:
    """Report what a user should know at the start: through `on_record`, or the output."""
    if on_record is not None:
        on_record("start", {"train_iters": plan.train_iters, "finished": resumed_from, "notes": notes})
    elif is_first():
        for note in notes:
            print(f"note: {note}")


def _say(on_record: OnRecord | None, text: str) -> None:
    """Show a line at once: through `on_record`, else in the output."""
    if on_record is not None:
        on_record("line", {"text": text})
    elif is_first():
        print(text, flush=True)
