"""Report the plan of a training run, for a dry run."""

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from nemotron.cli import console, dry_run
from nemotron.cli.super3.training_checks import config_there, find_jobs, folder_of, look, look_here
from nemotron.errors import Problem, UserError

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.launch import Placement
    from nemotron.training.backend import BackendName
    from nemotron.training.checkpoints.run_folder import RunFolder
    from nemotron.training.config import SftConfig
    from nemotron.training.plan import Plan
    from nemotron.training.prepared_data import PreparedData


def report_here(
    report: dry_run.Report,
    loaded: "Loaded[SftConfig]",
    expected: "PreparedData | None" = None,
    *,
    compare: bool = False,
) -> "PreparedData | None":
    """Add the plan of a run on this machine to a dry run, and what is refused.

    Args:
        report: The dry run.
        loaded: The training config.
        expected: What data prep will make, if anything (`look`).
        compare: Whether to compare with Megatron-Bridge's recipe, which has to be imported for that.

    Returns:
        The data that was found.
    """
    from nemotron.launch import count_gpus
    from nemotron.training.backend import choose_backend
    from nemotron.training.checks.continuation import describe_changes, describe_resume
    from nemotron.training.checks.inputs import check_inputs
    from nemotron.training.checks.machine import check_machine
    from nemotron.training.reporting.wandb_run import find_wandb

    config = loaded.config
    ranks = None if config.run.nproc_per_node == "auto" else config.run.nproc_per_node
    found = look_here(config, loaded.name, expected)
    inputs, run = found.inputs, found.run
    start, data, missing = inputs.start, inputs.data, inputs.missing
    notes = [*describe_resume(run), *describe_changes(config, run)]
    notes += _too_few_processes(config) if ranks is None else []
    notes += find_wandb(config, run, has_work=True).describe()
    plan, problems = check_inputs(config, inputs.checked, start, ranks, run)
    _report_plan(report, config, data, missing, plan, notes, ranks)
    # With `auto`, plans are also made on machines that will not train.
    asked = config.run.backend
    backend = None if asked == "auto" else choose_backend(asked, count_gpus() > 0)
    machine = check_machine(config, data, start, run, plan, backend)
    _report_checks(report, [*find_jobs(loaded), *missing, *problems, *machine])
    if compare and plan is not None and data is not None:
        _report_changes(report, loaded, plan, data, run, ranks, choose_backend(asked).name)
    return data


def report_on(
    report: dry_run.Report,
    loaded: "Loaded[SftConfig]",
    placement: "Placement",
    expected: "PreparedData | None" = None,
    *,
    compare: bool = False,
) -> "PreparedData | None":
    """Add the plan of a run on a profile to a dry run, and what would be refused.

    Args:
        report, loaded, expected, compare: As in `report_here`.
        placement: The stage on its profile.

    Returns:
        As `report_here`.
    """
    from nemotron.training.checkpoints.run_folder import find_run_folder
    from nemotron.training.checks.inputs import check_inputs

    config, ranks = config_there(loaded, placement), placement.ranks
    with folder_of(placement):
        found = look(config, loaded.name, expected)
        data, missing = found.data, found.missing
        plan, problems = check_inputs(config, found.checked, found.start, ranks)
        _report_plan(report, config, data, missing, plan, [], ranks)
        _report_checks(report, problems)
    if compare and plan is not None and data is not None:
        # What `auto` means on another machine is not known; we assume that it has what training needs.
        backend = config.run.backend if config.run.backend in ("torch", "cpu") else None
        _report_changes(report, loaded, plan, data, find_run_folder(config), ranks, backend)
    return data


def report_local_launch(report: dry_run.Report, config: "SftConfig", arguments: list[str]) -> None:
    """Add how training starts on this machine."""
    from nemotron.launch import count_gpus, torchrun_command
    from nemotron.lineage.origin import mask_arguments

    gpus = count_gpus()
    processes = (gpus or 1) if config.run.nproc_per_node == "auto" else config.run.nproc_per_node
    line = torchrun_command(arguments, processes) if processes > 1 else ["nemotron", "super3", "sft", *arguments]
    rows = [("GPUs here", str(gpus)), ("processes", str(processes)), *dry_run.local_variables()]
    report.stage("sft", [*rows, ("runs", shlex.join(mask_arguments(line)))], {})


def _report_plan(
    report: dry_run.Report,
    config: "SftConfig",
    data: "PreparedData | None",
    missing: list[Problem],
    plan: "Plan | None",
    notes: list[str],
    ranks: int | None,
) -> None:
    """Add the data and the plan, as far as its numbers are known."""
    from nemotron.training.parallelism.layout import explain_layout

    if data is None:
        reason = "".join(f": {problem.message}" for problem in missing)
        report.rows("Artifacts", [("run.data", f"{config.run.data}: not found from here")])
        report.rows("Training plan", [("counted", f"when the data is there{reason}")])
        return
    report.rows("Artifacts", [("run.data", f"{data.reference}: {data.splits}")])
    if plan is None:
        return
    layout = explain_layout(config, plan.pack_size, ranks)
    rows = [*plan.rows(layout), *(("note", line) for line in notes)]
    start = {name: getattr(plan.start, name) for name in ("checkpoint", "description", "setting", "unresolved")}
    facts = {**asdict(plan), "start": start, "epochs": plan.epochs, "layout": layout, "notes": [*plan.notes, *notes]}
    report.rows("Training plan", rows, facts)


def _report_checks(report: dry_run.Report, problems: list[Problem]) -> None:
    for problem in problems:
        report.refuse(UserError(problem.message, problem.hint or None))
    outcome = f"{len(problems)} refused" if problems else "accepted"
    rows = [("settings, data, model, tokenizer, layout", outcome)]
    report.rows("Checks", [*rows, ("GPUs, packages, permissions", "checked where the run starts")])


def _too_few_processes(config: "SftConfig") -> list[str]:
    """Report that this machine has too few processes for the layout."""
    from nemotron.launch import count_gpus
    from nemotron.training.checks.settings import check_numbers
    from nemotron.training.parallelism.divisibility import fewest_ranks

    if any(check_numbers(config)):
        return []
    processes, fewest = max(1, count_gpus()), fewest_ranks(config)
    if processes % fewest == 0:
        return []
    return [f"Processes on this machine: {processes}; the layout needs a multiple of {fewest} (run.nproc_per_node)."]


def _report_changes(
    report: dry_run.Report,
    loaded: "Loaded[SftConfig]",
    plan: "Plan",
    data: "PreparedData",
    run: "RunFolder",
    ranks: int | None,
    backend: "BackendName | None",
) -> None:
    """Add what differs from Megatron-Bridge's recipe."""
    from nemotron.training.recipe.preview import recipe_changes

    title = "Differs from Megatron-Bridge's recipe"
    console.note("Importing Megatron-Bridge to compare; Ctrl-C leaves this part out.")
    try:
        changes = recipe_changes(loaded, plan, data, run, ranks, backend)
    except KeyboardInterrupt:
        return
    except UserError as error:
        report.rows(title, [("comparison skipped", error.message)])
        return
    rows = [(c.key, str(c.ours), str(c.recipe)) for c in changes]
    report.rows(title, rows, {c.key: {"here": c.ours, "recipe": c.recipe} for c in changes}, ("key", "here", "recipe"))
