"""What a training run will do, for dry runs: the data found, the plan, the checks, the launch."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nemotron.cli import console, dry_run
from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.training.config import SftConfig
    from nemotron.training.plan import Plan
    from nemotron.training.prepared_data import PreparedData


def plan_run(loaded: "Loaded[SftConfig]", ranks: int | None, *, here: bool) -> tuple["Plan", "PreparedData", list[str]]:
    """Make the plan of a run.

    Args:
        loaded: The training config.
        ranks: Processes in all; None where that is not known.
        here: Whether this machine is the one that trains.

    Returns:
        The plan, the data, and what changes where a run is continued, a line each.
    """
    from nemotron.training.checks.continuation import check_continuation
    from nemotron.training.plan import make_plan

    config = loaded.config
    data = _find_data(loaded)
    plan = make_plan(config, data, ranks, here=here)
    return plan, data, check_continuation(config, data, plan.schedule, plan.train_iters) if here else []


def report_training(
    report: dry_run.Report,
    loaded: "Loaded[SftConfig]",
    ranks: int | None = None,
    *,
    here: bool = True,
    data_may_be_missing: bool = False,
    compare: bool = False,
) -> None:
    """Add the plan of a training run to a dry run, and what is refused.

    Args:
        report: The dry run.
        loaded: The training config.
        ranks: Processes in all; None: run.nproc_per_node, where it says a number.
        here: Whether this machine is the one that trains.
        data_may_be_missing: The data is made later, or lies where only the job sees it.
        compare: Whether to compare with Megatron-Bridge's recipe, which has to be imported for that.
    """
    from nemotron.training.checks.before_start import check_can_start

    config = loaded.config
    if here and config.run.nproc_per_node != "auto":
        ranks = config.run.nproc_per_node
    check_can_start(config, here=False)
    try:
        _find_data(loaded)
    except UserError as error:
        report.rows("Artifacts", [("run.data", f"{config.run.data}: not found from here")])
        if not data_may_be_missing:
            report.refuse(error)
        report.rows("Training plan", [("counted", f"when the data is there: {error.message}")])
        return
    plan, data, notes = plan_run(loaded, ranks, here=here)
    report.rows("Artifacts", [("run.data", f"{data.reference}: {data.splits}")])
    if ranks is None:
        notes += _too_few_processes(config)
    rows = [*plan.rows(), *(("note", line) for line in notes)]
    report.rows("Training plan", rows, {**asdict(plan), "epochs": plan.epochs, "notes": [*plan.notes, *notes]})
    passed = [("settings, data, model, tokenizer, layout", "accepted")]
    report.rows("Checks", [*passed, ("GPUs, packages, permissions", "checked where the run starts")])
    if compare:
        _report_changes(report, loaded, plan, data, ranks, here=here)


def report_local_launch(report: dry_run.Report, config: "SftConfig", arguments: list[str]) -> None:
    """Add how training starts on this machine; refuse a backend that it cannot have."""
    from nemotron.launch import torchrun_command, visible_gpus
    from nemotron.training.backend import lacking

    gpus, backend = visible_gpus(), config.run.backend
    processes = (gpus or 1) if config.run.nproc_per_node == "auto" else config.run.nproc_per_node
    line = torchrun_command(arguments, processes) if processes > 1 else ["nemotron", "super3", "sft", *arguments]
    rows = [("GPUs here", str(gpus)), ("processes", str(processes)), *dry_run.local_variables()]
    report.stage("sft", [*rows, ("runs", shlex.join(line))], {})
    if backend in ("production", "torch") and not gpus:
        report.refuse(UserError(f"run.backend={backend} needs a GPU, and there is none here.", "Use run.backend=auto."))
    elif backend == "production" and lacking():
        missing = " and ".join(lacking())
        report.refuse(
            UserError(f"run.backend=production needs {missing}, not installed here.", "Use run.backend=auto.")
        )


def _find_data(loaded: "Loaded[SftConfig]") -> "PreparedData":
    from nemotron.training.prepared_data import find_prepared_data

    run = loaded.config.run
    return find_prepared_data(run.data, Path(run.artifacts), config_name=loaded.name)


def _too_few_processes(config: "SftConfig") -> list[str]:
    """Say that this machine has too few processes for the layout, where it only plans."""
    from nemotron.launch import visible_gpus
    from nemotron.training.parallelism.layout import fewest_ranks

    processes, fewest = max(1, visible_gpus()), fewest_ranks(config)
    if processes % fewest == 0:
        return []
    return [f"Processes on this machine: {processes}; the layout needs a multiple of {fewest} (run.nproc_per_node)."]


def _report_changes(
    report: dry_run.Report,
    loaded: "Loaded[SftConfig]",
    plan: "Plan",
    data: "PreparedData",
    ranks: int | None,
    *,
    here: bool,
) -> None:
    """Add what differs from Megatron-Bridge's recipe."""
    from nemotron.training.recipe.preview import recipe_changes

    title = "Differs from Megatron-Bridge's recipe"
    console.note("Importing Megatron-Bridge to compare; Ctrl-C leaves this part out.")
    try:
        changes = recipe_changes(loaded, plan, data, ranks, here=here)
    except KeyboardInterrupt:
        return
    except UserError as error:
        report.rows(title, [("comparison skipped", error.message)])
        return
    rows = [(c.key, str(c.ours), str(c.recipe)) for c in changes]
    report.rows(title, rows, {c.key: {"here": c.ours, "recipe": c.recipe} for c in changes}, ("key", "here", "recipe"))
