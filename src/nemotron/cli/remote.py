"""`--run` and `--batch`: a command's stages on a profile of env.toml."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from nemotron.cli import console, dry_run

if TYPE_CHECKING:
    from nemotron.launch import Job, JobState, Placement, Stage, Submission


def place(stages: Sequence["Stage"], profile_name: str, *, attached: bool) -> tuple["Placement", ...]:
    """Place the stages on a profile of env.toml: what `launch` takes."""
    from nemotron.launch import load_profile
    from nemotron.launch import place as place_stages

    return place_stages(stages, load_profile(profile_name), attached=attached)


def launch(placements: Sequence["Placement"], *, attached: bool) -> None:
    """Submit the stages; attached, wait for them and leave with their exit code."""
    from nemotron.launch import submit

    submission = submit(placements)
    _report(submission)
    if attached:
        _follow(submission)


def report_launch(report: dry_run.Report, placements: Sequence["Placement"], *, script: bool) -> None:
    """Add how the stages would be launched to a dry run. `script`: with the script for sbatch, from NeMo-Run."""
    from nemotron.launch import preview

    for shown in preview(placements, script=script):
        placement = shown.placement
        rows = [
            ("profile", f"{placement.profile.name} ({placement.profile.source})"),
            ("nodes", str(placement.nodes)),
            ("processes per node", str(placement.processes)),
            *shown.options,
            ("container", placement.image or "none"),
            *[("mount", mount) for mount in placement.mounts],
            *[("environment", f"{name}={value}") for name, value in shown.variables.items()],
            ("works in", placement.workdir),
            ("job folder", placement.folder),
            ("runs", shown.command),
        ]
        scripts = {"Launch script": shown.launch_script}
        if shown.batch_script is not None:
            scripts["Script for sbatch"] = shown.batch_script
        report.stage(placement.stage.name, rows, scripts)


def _report(submission: "Submission") -> None:
    on_slurm = submission.tunnel is not None
    console.heading(
        f"{'Submitted' if on_slurm else 'Running'} {submission.name} with profile {submission.profile.name}"
    )
    for job in submission.jobs:
        rows = [("stage", job.stage), ("folder", job.folder)]
        console.table([*rows, ("job", job.id), ("log", job.log)] if on_slurm else rows)
    if on_slurm:
        console.table([("to cancel", submission.cancel_command)])


def _follow(submission: "Submission") -> None:
    from nemotron.launch import follow

    def on_state(job: "Job", state: "JobState") -> None:
        reason = f" ({state.reason})" if state.reason else ""
        console.note(f"{job.stage} {job.id}: {state.name.lower()}{reason}")

    try:
        code = follow(submission, on_output=lambda text: typer.echo(text, nl=False), on_state=on_state)
    except KeyboardInterrupt:
        if submission.tunnel is not None:
            console.note(f"The jobs go on without this terminal. To cancel them: {submission.cancel_command}")
        raise typer.Exit(130) from None
    if code:
        raise typer.Exit(code)
