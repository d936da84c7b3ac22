"""`--run` and `--batch`: a command's stages on a profile of env.toml."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from nemotron.cli import console, dry_run

if TYPE_CHECKING:
    from nemotron.launch import Job, JobState, Placement, Preview, Stage, Submission


def place(stages: Sequence["Stage"], profile_name: str, *, attached: bool) -> tuple["Placement", ...]:
    """Place the stages on a profile of env.toml: what `launch` takes."""
    from nemotron.launch import load_profile
    from nemotron.launch import place as place_stages

    return place_stages(stages, load_profile(profile_name), attached=attached)


def launch(placements: Sequence["Placement"], *, attached: bool, dry: bool) -> None:
    """Submit the stages; attached, wait for them and leave with their exit code. `dry` only shows what would happen."""
    from nemotron.launch import preview, submit

    if dry:
        for shown in preview(placements):
            _show(shown)
        dry_run.end()
        return
    submission = submit(placements)
    _report(submission)
    if attached:
        _follow(submission)


def _show(preview: "Preview") -> None:
    placement = preview.placement
    rows = [
        ("profile", f"{placement.profile.name} ({placement.profile.source})"),
        ("container", placement.image or "none"),
        *[("mount", mount) for mount in placement.mounts],
        *[("environment", f"{name}={value}") for name, value in preview.variables.items()],
        ("works in", placement.workdir),
        ("job folder", placement.folder),
        ("runs", preview.command),
    ]
    dry_run.show_plan(rows, f"Stage {placement.stage.name}")
    console.heading("Launch script, once per node")
    console.out(preview.launch_script.rstrip())
    if preview.batch_script is not None:
        console.heading("Script for sbatch")
        console.out(preview.batch_script.rstrip())


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
