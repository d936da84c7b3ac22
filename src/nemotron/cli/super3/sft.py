"""`nemotron super3 sft`: prepared data in, a fine-tuned checkpoint out."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nemotron.cli import configs, console, dry_run, options, remote
from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.training.config import SftConfig
    from nemotron.training.run import TrainResult


def sft(
    overrides: options.Overrides = None,
    config: options.Config = "default",
    run: options.Run = None,
    batch: options.Batch = None,
    dry: options.DryRun = False,
) -> None:
    """Fine-tune on prepared data. A run found in run.output_dir is continued.

    \b
    Examples:
      nemotron super3 sft -c tiny
      nemotron super3 sft -c lora optimizer.lr=2e-4 train.train_iters=500
      nemotron super3 sft --dry-run
      nemotron super3 sft --run YOUR-CLUSTER
    """
    profile = options.check_profile(run, batch)
    loaded = configs.load_sft(config, overrides or [])
    if not dry:
        from nemotron.training.checks import check_start

        check_start(loaded.config)
    if dry:
        dry_run.show_config(loaded, "Training config")
    if profile is not None:
        from nemotron.launch import sft_stage

        stage = sft_stage(loaded)
        if dry:
            show_plan_if_counted(loaded, remote.ranks(stage, profile))
        remote.launch([stage], profile, attached=run is not None, dry=dry)
    elif dry:
        show_training_plan(loaded)
        dry_run.end()
    else:
        train_here(loaded, ["--config", config, *(overrides or [])])


def show_training_plan(loaded: "Loaded[SftConfig]", ranks: int | None = None) -> None:
    """Steps, epochs, tokens, the stages of the loss and the layout on `ranks` processes, from the prepared data."""
    from nemotron.training.plan import make_plan
    from nemotron.training.prepared import find_prepared_data

    settings = loaded.config.run
    data = find_prepared_data(settings.data, Path(settings.artifacts), config_name=loaded.name)
    dry_run.show_plan(make_plan(loaded.config, data, ranks).rows(), "Training plan")


def show_plan_if_counted(loaded: "Loaded[SftConfig]", ranks: int | None = None) -> None:
    """The training plan; in its place what stands in its way, such as data that is not there yet."""
    try:
        show_training_plan(loaded, ranks)
    except UserError as error:
        console.heading("Training plan")
        console.out(f"  None from here: {error.message}")


def train_here(loaded: "Loaded[SftConfig]", arguments: list[str]) -> None:
    """Train on this machine: in this process, or with one process per GPU.

    `arguments` are what `loaded` was loaded from; the processes load it again.
    """
    from nemotron.launch import local_processes, torchrun

    processes = local_processes(loaded.config.run.nproc_per_node)
    if processes > 1:
        console.note(f"Training in {processes} processes.")
        if code := torchrun(arguments, processes):
            raise typer.Exit(code)
        return
    from nemotron.training.run import train

    console.note(
        f"Training with {loaded.path.name}; Megatron's own output goes to {loaded.config.run.output_dir}/train.log."
    )
    with console.Progress() as progress:
        result = train(loaded, on_record=_Reporter(progress))
    show_result(result)


class _Reporter:
    """Training records as progress."""

    def __init__(self, progress: console.Progress) -> None:
        self._progress = progress
        self._total = 0
        self._stage = ""

    def __call__(self, kind: str, record: dict[str, Any]) -> None:
        if kind == "start":
            self._total = record["train_iters"]
            if 0 < record["finished"] < self._total:
                self._progress.line(f"Continuing after iteration {record['finished']:,}.")
            return
        if kind in ("valid", "test"):
            split = {"valid": "Validation", "test": "Test split"}[kind]
            losses = f"token loss {record['token_loss']:.4f}, sample loss {record['sample_loss']:.4f}"
            self._progress.line(f"{split} after iteration {record['iteration']:,}: {losses}")
            return
        if record["loss_stage"] != self._stage:
            self._stage = record["loss_stage"]
            self._progress.line(f"Iteration {record['iteration']:,}: the loss averages over {self._stage}s.")
        note = f"loss {record['lm_loss']:.4f}, lr {record['lr']:.2e}, {record['seconds']:.2f} s"
        self._progress.update("Training", record["iteration"], self._total, "iterations", note)


def show_result(result: "TrainResult") -> None:
    """What a training run made, where it is, and what to try next; or that it was stopped."""
    iterations = result.plan.train_iters
    if result.finished < iterations:
        console.out(
            f"Stopped after iteration {result.finished:,} of {iterations:,}, with a checkpoint in {result.checkpoint}. "
            "The same command continues it."
        )
        return
    console.heading("Fine-tuned" if result.resumed_from < iterations else "Already fine-tuned")
    rows = [("iterations", f"{iterations:,}"), ("loss averages over", result.plan.schedule.describe())]
    for name, label in (("token_loss", "token loss"), ("sample_loss", "sample loss")):
        if result.records:
            rows.append((label, f"{result.records[0][name]:.4f} -> {result.records[-1][name]:.4f}"))
        if result.validation:
            rows.append(
                (f"validation {label}", f"{result.validation[0][name]:.4f} -> {result.validation[-1][name]:.4f}")
            )
        if result.test:
            rows.append((f"test {label}", f"{result.test[-1][name]:.4f}"))
    rows += [
        ("checkpoint", str(result.checkpoint)),
        ("metrics", str(result.metrics)),
        ("report", str(result.report)),
        ("artifact", result.artifact),
        *([("Hugging Face copy", str(result.hf_folder))] if result.hf_folder else []),
    ]
    console.table(rows)
    _show_next(result)


def _further(result: "TrainResult") -> str:
    """The overrides that double a run; stages keep the iterations at which they started."""
    overrides = [f"train.train_iters={2 * result.plan.train_iters}"]
    stages = result.plan.schedule.stages
    if len(stages) > 1:
        listed = ", ".join(f"{{average: {stage.average}, start: {stage.start}}}" for stage in stages)
        overrides.append(f"loss.stages=[{listed}]")
    return shlex.join(overrides)


def _show_next(result: "TrainResult") -> None:
    """What to try next: the curves, the export, and the user's own data."""
    console.heading("Next")
    rows = [
        ("look at the curves", f"open {result.report}"),
        ("train it further", f"the same command with {_further(result)}"),
    ]
    if result.hf_folder is None:
        export = shlex.join(["nemotron", "super3", "model", "export", str(result.output_dir)])
        rows.append(("export it for transformers", export))
    rows.append(("see what trains in your own data", "nemotron super3 data inspect FILE.jsonl"))
    console.table(rows)
