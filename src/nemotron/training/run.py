"""A training run, from its config to its checkpoint: the order in which everything else here is called."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nemotron import lineage
from nemotron.atomic_files import write_text
from nemotron.config import Loaded
from nemotron.errors import refuse
from nemotron.training import bridge
from nemotron.training.backend import backend, describe_backend, sees_gpu
from nemotron.training.checkpoints.foreign_code import find_code_to_load
from nemotron.training.checkpoints.initial_weights import StartingPoint, find_start
from nemotron.training.checkpoints.reader import base_model_of
from nemotron.training.checkpoints.run_folder import RunFolder, claim_run, find_run_folder, hold, read_records
from nemotron.training.checks.before_start import check_inputs, check_machine
from nemotron.training.checks.continuation import describe_changes, describe_resume
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData, find_data
from nemotron.training.reporting.failures import explain_failures
from nemotron.training.reporting.html_report import render_report
from nemotron.training.reporting.startup import Startup
from nemotron.training.shards import ShardCheck, recorded_shards
from nemotron.training.stop_signals import heed_signals
from nemotron.training.weights.export_run import export_run, wait_for_first_rank

OnRecord = Callable[[str, dict[str, Any]], None]
"""Called as `on_record("start", {"train_iters": n, "finished": k, "notes": [line, ...]})` once, then with each record
of metrics.jsonl ("train"), validation.jsonl ("valid") and test.jsonl ("test"). On every rank also as
`on_record("line", {"text": line})`, for a line to be shown at once: a step of the start, a signal."""


@dataclass(frozen=True)
class TrainResult:
    """What a run made, and where."""

    plan: Plan
    output_dir: Path
    checkpoint: Path
    metrics: Path
    records: list[dict[str, Any]]
    """The records of metrics.jsonl, from iteration 1."""
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    """The records of test.jsonl: one, when the test split was evaluated."""
    report: Path
    """report.html: the curves."""
    resumed_from: int
    """Iterations that were finished before this run; `plan.train_iters` when there was nothing left to do."""
    finished: int
    """Iterations in the last checkpoint; fewer than `plan.train_iters` when a signal stopped the run."""
    stopped: bool
    """Whether a signal or a time limit ended it. The same command goes on, if only to evaluate and export."""
    artifact: str
    """The model artifact, as `name:version`; empty when the run was stopped."""
    hf_folder: Path | None
    """The Hugging Face export, when one was asked for."""
    hf_artifact: str
    """Its artifact, as `name:version`; empty without one."""


def train(loaded: Loaded[SftConfig], on_record: OnRecord | None = None) -> TrainResult:
    """Fine-tune as `loaded` says, or continue where a run in the same folder stopped.

    Under torchrun every rank calls this with the same arguments.

    Args:
        loaded: the config, with where each value came from.
        on_record: progress; when given, everything that Megatron prints goes to train.log instead of the terminal.

    Raises:
        UserError: config, data, output folder or this machine do not fit; it lists everything that was found.
    """
    config = loaded.config
    run, start = find_run_folder(config), find_start(config)
    data, missing = find_data(config, loaded.name)
    plan, problems = check_inputs(config, data, start, int(os.environ.get("WORLD_SIZE", "1")), run)
    machine = check_machine(config, data, start, run, plan, sees_gpu())
    notes = [*describe_resume(run), *describe_changes(config, run), *describe_backend(config)]
    loaded_files = find_code_to_load(start.checkpoint, run.newest) if os.environ.get("LOCAL_RANK", "0") == "0" else ()
    refuse([*missing, *problems, *machine, *loaded_files])
    assert data is not None
    assert plan is not None
    run.output.mkdir(parents=True, exist_ok=True)
    with hold(run) if _rank() == 0 else contextlib.nullcontext():
        result = _train(loaded, plan, data, run, notes, on_record)
    if _rank() != 0:
        wait_for_first_rank(run, config.convert_to_hf.timeout_minutes)
    return result


def _train(
    loaded: Loaded[SftConfig],
    plan: Plan,
    data: PreparedData,
    run: RunFolder,
    notes: list[str],
    on_record: OnRecord | None,
) -> TrainResult:
    """Train in a folder that nobody else writes, as everything was found to be."""
    config = loaded.config
    if _rank() == 0:
        run = run.repaired()
        claim_run(run, config, data)
        write_text(run.output / "config.yaml", loaded.to_yaml())

    resumed_from = min(run.finished, plan.train_iters)
    _report_start(on_record, plan, resumed_from, [*plan.notes, *notes])
    stopped = False
    with _quiet(run.output / "train.log") if on_record is not None else contextlib.nullcontext():
        if resumed_from < plan.train_iters or _is_untested(config, data, run, plan):
            stopped = _finetune(loaded, plan, data, run, on_record, evaluate_only=resumed_from == plan.train_iters)
    finished = min(run.refreshed().finished, plan.train_iters)
    is_complete = finished == plan.train_iters and not stopped

    names = ("metrics", "validation", "test")
    records, validation, test = (read_records(run.output / f"{name}.jsonl") for name in names)
    report, artifact, hf_folder, hf_artifact = run.output / "report.html", "", None, ""
    if _rank() == 0:
        title = f"{loaded.name}: {finished:,} of {plan.train_iters:,} iterations on {data.reference}"
        write_text(report, render_report(title, records, validation, test))
        if is_complete:
            artifact = _log_model(config, data, run, records)
        if is_complete and config.convert_to_hf.enabled:
            # What is recorded by now is not lost, should this fail or be killed.
            hf_folder, hf_artifact = export_run(config, plan, run, artifact)
    return TrainResult(
        plan=plan,
        output_dir=run.output,
        checkpoint=run.checkpoints,
        metrics=run.output / "metrics.jsonl",
        records=records,
        validation=validation,
        test=test,
        report=report,
        resumed_from=resumed_from,
        finished=finished,
        stopped=stopped,
        artifact=artifact,
        hf_folder=hf_folder,
        hf_artifact=hf_artifact,
    )


def _report_start(on_record: OnRecord | None, plan: Plan, resumed_from: int, notes: list[str]) -> None:
    """Report what a user should know before hours pass: to whoever shows progress, else into the output."""
    if on_record is not None:
        on_record("start", {"train_iters": plan.train_iters, "finished": resumed_from, "notes": notes})
    elif _rank() == 0:
        for note in notes:
            print(f"note: {note}")


def _say(on_record: OnRecord | None, text: str) -> None:
    """Show a line at once: to whoever shows progress, else in the output."""
    if on_record is not None:
        on_record("line", {"text": text})
    elif _rank() == 0:
        print(text, flush=True)


def _is_untested(config: SftConfig, data: PreparedData, run: RunFolder, plan: Plan) -> bool:
    """Tell whether the evaluation of the test split that ends the run has yet to be made."""
    tested = any(record["iteration"] == plan.train_iters for record in read_records(run.output / "test.jsonl"))
    return config.test.enabled and data.folder("test") is not None and not tested


def _finetune(
    loaded: Loaded[SftConfig],
    plan: Plan,
    data: PreparedData,
    run: RunFolder,
    on_record: OnRecord | None,
    *,
    evaluate_only: bool,
) -> bool:
    """Build the Megatron-Bridge config and hand it to `finetune()` with our step.

    Args:
        evaluate_only: every iteration is trained and saved; the evaluations that end a run are made, nothing else.

    Returns:
        Whether a signal or a time limit stopped it.
    """
    config = loaded.config
    bridge.check_release()
    check = _check_shards(config, data)
    say = partial(_say, on_record)
    startup = Startup(say)
    startup.step("Importing torch and Megatron-Bridge")
    with heed_signals(say) as signals, bridge.named_when_missing(), backend(config) as apply_backend:
        from megatron.bridge.training.finetune import finetune

        from nemotron.training.objective.forward_step import TwoStageStep
        from nemotron.training.recipe.build import build_recipe
        from nemotron.training.reporting.heldout_evaluation import evaluate_test_split
        from nemotron.training.reporting.metrics import MetricsWriter
        from nemotron.training.reporting.shard_check import ChecksShards

        startup.step("Building the config")
        start = _starting_checkpoint(config, plan.start, run)
        recipe = build_recipe(config, plan, data, run, loaded.origins, start)
        apply_backend(recipe.container)
        if evaluate_only:
            # Or it would write the last checkpoint a second time. Without a folder, Megatron-Bridge refuses async_save.
            recipe.container.checkpoint.save, recipe.container.checkpoint.async_save = None, False
        if _rank() == 0:
            for change in recipe.changes():
                print(change)
        step = TwoStageStep(plan.schedule, pads_conversations=data.pad_to_multiple > 1)
        writer = MetricsWriter(run.output, plan.valid_packs, step, on_record)
        callbacks: list[Any] = [*bridge.installed().callbacks(), signals.callback(), writer]
        if check is not None:
            callbacks.append(ChecksShards(check))
        if config.test.enabled:
            callbacks += evaluate_test_split(data, step, writer)
        startup.step("Starting Megatron")
        explained = explain_failures(writer, run.output / "train.log", run.checkpoints)
        with startup.follow_setup(), explained as ending:
            finetune(recipe.container, step, callbacks=callbacks)
    return ending.stopped


def _check_shards(config: SftConfig, data: PreparedData) -> ShardCheck | None:
    """Begin to read the shards in the background, on one rank of each node; None where there is nothing to compare."""
    if not config.run.verify_data or os.environ.get("LOCAL_RANK", "0") != "0":
        return None
    shards = recorded_shards(data)
    return ShardCheck(shards) if shards else None


def _starting_checkpoint(config: SftConfig, start: StartingPoint, run: RunFolder) -> Path | None:
    """Find the checkpoint to start from; random weights are made on first use. None leaves it to `checkpoint.load`."""
    if start.checkpoint is not None:
        return start.checkpoint
    if config.recipe.random_start is not None:
        from nemotron.training.weights.random_init import make_starting_checkpoint

        return make_starting_checkpoint(config.recipe.hf_model, run.output.parent / "start", config.recipe.random_start)
    # Adapters alone are continued on the model that they belong to.
    return None if run.newest is None else base_model_of(run.newest)


def _log_model(config: SftConfig, data: PreparedData, run: RunFolder, records: list[dict[str, Any]]) -> str:
    last = records[-1] if records else {}
    artifact = lineage.log_artifact(
        name="ModelArtifact-sft",
        type="model",
        path=run.checkpoints,
        metadata={key: last.get(key) for key in ("iteration", "loss_stage", "token_loss", "sample_loss")},
        inputs=[data.reference, *_model_input(config)],
        aliases=["latest"],
        root=Path(config.run.artifacts),
        wandb_project=config.logger.get("wandb_project"),
        wandb_entity=config.logger.get("wandb_entity"),
    )
    return artifact.reference


def _model_input(config: SftConfig) -> list[str]:
    """Name what the run started from as lineage records it: the checkpoint's path, or the artifact's exact version."""
    if given := config.checkpoint.get("pretrained_checkpoint"):
        return [str(given)]
    if config.run.model is None:
        return []
    return [lineage.resolve(config.run.model, Path(config.run.artifacts)).reference]


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send what Python code prints to a log file while somebody else shows progress."""
    with (
        log.open("a", encoding="utf-8", buffering=1) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))
