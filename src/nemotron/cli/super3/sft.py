"""Run `nemotron super3 sft`: prepared data in, a fine-tuned checkpoint out."""

import contextlib
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from nemotron.cli import configs, console, dry_run, options, remote
from nemotron.cli.super3.advice import report_advice
from nemotron.cli.super3.training_checks import refuse_before_torch, refuse_on, refuse_with_torch
from nemotron.cli.super3.training_plan import report_here, report_local_launch, report_on
from nemotron.exit_codes import STOPPED, TERMINATED

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.launch import Placement
    from nemotron.training.config import SftConfig
    from nemotron.training.run import TrainResult


def sft(
    overrides: options.Overrides = None,
    config: options.Config = "default",
    run: options.Run = None,
    batch: options.Batch = None,
    dry: options.DryRun = False,
    verbose: options.Verbose = False,
    script: options.Script = False,
    compare: options.Compare = False,
    advise: options.Advise = False,
    as_json: options.AsJson = False,
    peft: options.Peft = None,
    tries: options.Tries = None,
) -> None:
    """Fine-tune on prepared data. A run in run.output_dir is resumed.

    \b
    Examples:
      nemotron super3 sft -c tiny
      nemotron super3 sft -c lora optimizer.lr=2e-4 train.train_iters=500
      nemotron super3 sft -c my_run.yaml --peft lora
      nemotron super3 sft -c tiny --try "What is the capital of France?"
      nemotron super3 sft --dry-run --advise run.nproc_per_node=32
      nemotron super3 sft --run YOUR-CLUSTER
    """
    profile = options.check_profile(run, batch)
    dry_run.check_options(dry, script=script, compare=compare, advise=advise, json=as_json)
    options.check_tries(tries, profile, dry=dry)
    if dry:
        with dry_run.Report("super3 sft", as_json=as_json) as report:
            arguments = options.peft_overrides(peft, overrides)
            loaded = configs.load_sft(config, arguments, leave_artifacts=profile is not None)
            report.config(loaded, "Training config")
            if profile is not None:
                placements = _place(loaded, profile, attached=run is not None)
                data = report_on(report, loaded, placements[0], compare=compare)
                if advise:
                    report_advice(report, loaded, data, placements[0].ranks)
                remote.report_launch(report, placements, script=script)
            else:
                data = report_here(report, loaded, compare=compare)
                if advise:
                    report_advice(report, loaded, data, None)
                report_local_launch(report, loaded.config, ["--config", config, *arguments])
        return
    arguments = options.peft_overrides(peft, overrides)
    loaded = configs.load_sft(config, arguments, leave_artifacts=profile is not None)
    if profile is not None:
        placements = _place(loaded, profile, attached=run is not None)
        refuse_on(loaded, placements[0])
        remote.launch(placements, attached=run is not None)
    else:
        train_here(loaded, ["--config", config, *arguments])
        if tries:
            _try(loaded.config.run.output_dir, tries)


def _place(loaded: "Loaded[SftConfig]", profile: str, *, attached: bool) -> "tuple[Placement, ...]":
    from nemotron.launch import make_sft_stage

    return remote.place([make_sft_stage(loaded)], profile, attached=attached)


def _try(run: str, prompts: list[str]) -> None:
    """Answer prompts with the newest checkpoint, in a new process.

    Its memory is free of what training left behind.

    Raises:
        typer.Exit: It failed; the run itself is finished.
    """
    import subprocess
    import sys

    console.heading("What it says now")
    words = ["super3", "model", "chat", run, *(f"--prompt={prompt}" for prompt in prompts)]
    if code := subprocess.run([sys.executable, "-m", "nemotron", *words], check=False).returncode:
        raise typer.Exit(code)


def train_here(loaded: "Loaded[SftConfig]", arguments: list[str]) -> None:
    """Train on this machine: in this process, or with one process per GPU.

    `arguments` are what `loaded` was loaded from; the processes load it again.
    """
    from nemotron.doctor import refuse_without_training
    from nemotron.launch import count_processes, torchrun

    with says_what_is_saved(loaded.config):
        refuse_without_training()
        found = refuse_before_torch(loaded)
        with console.show_work("look for GPUs"):  # imports torch
            processes = count_processes(loaded.config.run.nproc_per_node)
        if processes > 1:
            # Every process checks too, but torchrun would hide the error of one under its own traceback.
            refuse_with_torch(loaded, found)
            console.note(f"Training in {processes} processes.")
            if (code := torchrun(arguments, processes)) == TERMINATED:
                raise SystemExit(code)
            if code:
                raise typer.Exit(code)
            return
        is_stopped = show_result(train_with_progress(loaded))
    if is_stopped:
        raise typer.Exit(STOPPED)


@contextlib.contextmanager
def says_what_is_saved(config: "SftConfig") -> Iterator[None]:
    """Say after SIGTERM which iteration is saved.

    Only where it ends the run at once: while iterations run, it saves first.
    """
    try:
        yield
    except SystemExit as end:
        if end.code == TERMINATED:
            from nemotron.training.checkpoints.newest import find_newest

            saved = find_newest(config.saves_to).iteration
            said = f"Iteration {saved:,} is the last one saved, and" if saved else "This run has saved nothing yet;"
            console.note(f"{said} the same command {'goes on from there' if saved else 'starts it again'}.")
        raise


def train_with_progress(loaded: "Loaded[SftConfig]") -> "TrainResult":
    """Train in this process and show progress; NEMOTRON_VERBOSE: Megatron's output."""
    import os

    from nemotron.training.run import train

    if os.environ.get("NEMOTRON_VERBOSE"):
        return train(loaded)
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first:
        log = f"{loaded.config.run.output_dir}/train.log"
        console.note(f"Training with {loaded.path.name}; Megatron's own output goes to {log}.")
    with console.show_work("start") as progress:
        return train(loaded, on_record=_Reporter(progress, says_start=is_first))


class _Reporter:
    """Shows training records as progress."""

    def __init__(self, progress: console.Progress, *, says_start: bool = True) -> None:
        self._progress = progress
        self._says_start = says_start
        """Whether this process reports how the run starts and stops; only one process gets records."""
        self._total = 0
        self._stage = ""

    def __call__(self, kind: str, record: dict[str, Any]) -> None:
        if kind == "start":
            self._total = record["train_iters"]
            if not self._says_start:
                return
            for note in record["notes"]:
                self._progress.line(f"note: {note}")
            if 0 < record["finished"] < self._total:
                self._progress.line(f"Continuing after iteration {record['finished']:,}.")
            return
        if kind == "line":
            if self._says_start:
                self._progress.line(record["text"])
            return
        if kind in ("valid", "test"):
            split = {"valid": "Validation", "test": "Test split"}[kind]
            losses = f"token loss {_loss(record['token_loss'])}, sample loss {_loss(record['sample_loss'])}"
            self._progress.line(f"{split} after iteration {record['iteration']:,}: {losses}")
            return
        if record["loss_stage"] != self._stage:
            self._stage = record["loss_stage"]
            self._progress.line(f"Iteration {record['iteration']:,}: the loss averages over {self._stage}s.")
        note = f"loss {_loss(record['lm_loss'])}, lr {record['lr']:.2e}, {record['seconds']:.2f} s"
        self._progress.update("Training", record["iteration"], self._total, "iterations", note)
        if record["iteration"] == self._total:
            self._progress.wait_for("evaluate and save")


def _loss(value: float | None) -> str:
    """Format a loss; records have none for packs without a supervised token."""
    return "none (no supervised token)" if value is None else f"{value:.4f}"


def _first_and_last(records: list[dict[str, Any]], name: str) -> str:
    known = [record[name] for record in records if record[name] is not None]
    return f"{_loss(known[0])} -> {_loss(known[-1])}" if known else _loss(None)


def show_result(result: "TrainResult") -> bool:
    """Print what a training run made and what to try next, or that it was stopped.

    Returns:
        Whether it was stopped, with something left to do.
    """
    iterations = result.plan.train_iters
    if result.stopped or result.finished < iterations:
        saved = f"with a checkpoint in {result.checkpoint}" if result.finished else "before anything was saved"
        console.out(
            f"Stopped after iteration {result.finished:,} of {iterations:,}, {saved}. The same command continues it."
        )
        return True
    console.heading("Fine-tuned" if result.resumed_from < iterations else "Already fine-tuned")
    rows = [("iterations", f"{iterations:,}"), ("loss averages over", result.plan.schedule.describe())]
    for name, label in (("token_loss", "token loss"), ("sample_loss", "sample loss")):
        if result.records:
            rows.append((label, _first_and_last(result.records, name)))
        if result.validation:
            rows.append((f"validation {label}", _first_and_last(result.validation, name)))
        if result.test:
            rows.append((f"test {label}", _loss(result.test[-1][name])))
    rows += [
        ("checkpoint", str(result.checkpoint)),
        ("metrics", str(result.metrics)),
        ("report", str(result.report)),
        ("artifact", result.artifact),
        *([("Hugging Face copy", f"{result.hf_folder}, {result.hf_artifact}")] if result.hf_folder else []),
    ]
    console.table(rows)
    _show_next(result)
    return False


def _further(result: "TrainResult") -> str:
    """Write the overrides that double a run; stages keep their first iterations."""
    key, length = result.plan.length
    overrides = [f"{key}={2 * length}"]
    stages = result.plan.schedule.stages
    if len(stages) > 1:
        listed = ", ".join(f"{{average: {stage.average}, start: {stage.start}}}" for stage in stages)
        overrides.append(f"loss.stages=[{listed}]")
    return shlex.join(overrides)


def _show_next(result: "TrainResult") -> None:
    """Print what to try next: the curves, the export, the user's own data."""
    console.heading("Next")
    rows = [
        ("look at the curves", f"open {result.report}"),
        ("train it further", f"the same command with {_further(result)}"),
    ]
    if result.hf_folder is None:
        export = shlex.join(["nemotron", "super3", "model", "export", str(result.output_dir)])
        rows.append(("export it for transformers", export))
    rows.append(("ask it something", shlex.join(["nemotron", "super3", "model", "chat", str(result.output_dir)])))
    rows.append(("see what trains in your own data", "nemotron super3 data inspect FILE.jsonl"))
    console.table(rows)
