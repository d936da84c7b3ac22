"""`--run` and `--batch`: a command's stages on a profile of env.toml."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from nemotron.cli import console, dry_run

if TYPE_CHECKING:
    from nemotron.launch import Job, JobState, Preview, Profile, Stage, Submission


def launch(stages: Sequence["Stage"], profile_name: str, *, attached: bool, dry: bool) -> None:
    """Submit the stages; attached, wait for them and leave with their exit code. `dry` only shows what would happen."""
    from nemotron.launch import load_profile, preview, submit

    profile = load_profile(profile_name)
    if dry:
        for shown in preview(stages, profile, attached=attached):
            _show(shown, profile)
        dry_run.end()
        return
    submission = submit(stages, profile, attached=attached)
    _report(submission)
    if attached:
        _follow(submission)


def ranks(stage: "Stage", profile_name: str) -> int:
    """The processes that a stage would have on a profile, over all its nodes."""
    from nemotron.launch import load_profile

    profile = load_profile(profile_name).for_stage(stage.name)
    return profile.nodes * (stage.processes_per_node or profile.processes_per_node)


def _show(preview: "Preview", profile: "Profile") -> None:
    rows = [
        ("profile", f"{profile.name} ({profile.source})"),
        ("container", preview.container or "none"),
        *[("mount", mount) for mount in preview.mounts],
        *[("environment", f"{name}={value}") for name, value in preview.variables.items()],
        ("works in", preview.workdir),
        ("job folder", preview.folder),
        ("runs", preview.command),
    ]
    dry_run.show_plan(rows, f"Stage {preview.stage}")
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
