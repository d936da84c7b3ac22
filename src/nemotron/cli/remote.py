"""Run `--run` and `--batch`: a command's stages on a profile of env.toml."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from nemotron.cli import console, dry_run
from nemotron.cli.submissions import Detached, follow_submission, watch_command
from nemotron.errors import UserError, refuse

if TYPE_CHECKING:
    from nemotron.launch import Placement, Stage, Submission


def place(stages: Sequence["Stage"], profile_name: str, *, attached: bool) -> tuple["Placement", ...]:
    """Place the stages on a profile of env.toml, for `launch`."""
    from nemotron.launch import load_profile
    from nemotron.launch import place as place_stages

    return place_stages(stages, load_profile(profile_name), attached=attached)


def launch(placements: Sequence["Placement"], *, attached: bool) -> None:
    """Submit the stages; if attached, wait for them and exit with their code."""
    from nemotron.launch import submit
    from nemotron.launch.executors.passed_on import check_packages
    from nemotron.launch.jobs.in_use import check_folders
    from nemotron.launch.jobs.records import announce, forget, keep

    refuse([*check_packages(placements), *check_folders(placements)])
    if placements[0].profile.is_passed_on:
        _pass_on(placements, attached=attached)
        return
    for line in _describe_wandb(placements):
        console.note(line)
    if placements[0].profile.executor == "slurm":
        announce(placements)
    try:
        submission = submit(placements)
    except (UserError, KeyboardInterrupt) as error:
        forget(placements[0].experiment)
        if isinstance(error, UserError):
            raise
        console.note("Interrupted; nothing was submitted.")
        raise Detached from None
    if submission.tunnel is not None:
        keep(submission)
    _report(submission)
    if attached:
        follow_submission(submission)


def report_launch(report: dry_run.Report, placements: Sequence["Placement"], *, script: bool) -> None:
    """Add how the stages would be launched to a dry run.

    Args:
        report: The dry run.
        placements: The stages, in order.
        script: Whether to show the sbatch script, which imports NeMo-Run.
    """
    from nemotron.launch import preview
    from nemotron.launch.executors.passed_on import check_packages, find_unsent_secrets
    from nemotron.launch.jobs.in_use import check_folders

    lacking = [*check_packages(placements)]
    for problem in [*lacking, *check_folders(placements)]:
        report.refuse(UserError(problem.message, problem.hint))
    for shown in preview(placements, script=script and not lacking):
        placement = shown.placement
        rows = [
            ("profile", f"{placement.profile.name} ({placement.profile.source})"),
            ("nodes", str(placement.nodes)),
            ("processes per node", str(placement.processes)),
            *shown.options,
            ("container", placement.image or "none"),
            *[("mount", mount) for mount in placement.mounts],
            *[("environment", f"{name}={value}") for name, value in shown.variables.items()],
            *[("not passed on", name) for name in find_unsent_secrets(placement)],
            ("works in", placement.workdir),
            ("job folder", placement.folder),
            ("runs", shown.command),
        ]
        scripts = {"Launch script": shown.launch_script}
        if shown.batch_script is not None:
            title = "Request to the service" if placement.profile.is_passed_on else "Script for sbatch"
            scripts[title] = shown.batch_script
        report.stage(placement.stage.name, rows, scripts)
    if not placements[0].profile.is_passed_on and (lines := _describe_wandb(placements)):
        report.rows("Weights & Biases", [("note", line) for line in lines])


def _describe_wandb(placements: Sequence["Placement"]) -> list[str]:
    """List what keeps the stages from being recorded in W&B, without repetition."""
    from nemotron.lineage.access import describe_access_of_job

    lines = []
    for placement in placements:
        logger = placement.stage.config.get("logger") or {}
        environ = {**placement.variables, **placement.secrets}
        if placement.profile.executor == "local":
            environ = {**os.environ, **environ}
        project, entity = logger.get("wandb_project"), logger.get("wandb_entity")
        lines += describe_access_of_job(environ, project, entity, shares_home=placement.profile.tunnel == "local")
    return list(dict.fromkeys(lines))


def _pass_on(placements: Sequence["Placement"], *, attached: bool) -> None:
    """Submit through an executor whose jobs NeMo-Run follows itself."""
    from nemotron.launch.executors.passed_on import FOLLOWED_WITH, find_unsent_secrets, run_passed_on

    profile = placements[0].profile
    for name in find_unsent_secrets(placements[0]):
        console.note(f"{name} is set here but not passed on: {profile.executor} handles secrets in its own way.")

    def on_submitted(placement: "Placement", handle: str) -> None:
        console.heading(f"Submitted {placement.experiment} with profile {profile.name}")
        rows = [("stage", placement.stage.name), ("job", handle), ("follow it with", FOLLOWED_WITH[profile.executor])]
        console.table(rows)

    try:
        code = run_passed_on(placements, attached=attached, on_submitted=on_submitted)
    except KeyboardInterrupt:
        console.note(f"Interrupted; a submitted job continues. Follow it with: {FOLLOWED_WITH[profile.executor]}.")
        raise Detached from None
    if code:
        raise typer.Exit(code)


def _report(submission: "Submission") -> None:
    on_slurm = submission.tunnel is not None
    console.heading(
        f"{'Submitted' if on_slurm else 'Running'} {submission.name} with profile {submission.profile.name}"
    )
    for job in submission.jobs:
        rows = [("stage", job.stage), ("folder", job.folder)]
        console.table([*rows, ("job", job.id), ("log", job.log)] if on_slurm else rows)
    if on_slurm:
        console.table([("to watch", watch_command(submission)), ("to cancel", f"nemotron cancel {submission.name}")])
