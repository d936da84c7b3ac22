"""Follow and cancel what was submitted, for a person at a terminal."""

import sys
from typing import TYPE_CHECKING

import typer

from nemotron.cli import console
from nemotron.exit_codes import STOPPED

if TYPE_CHECKING:
    from nemotron.launch import Job, JobState, Submission


class Detached(Exception):
    """Ctrl-C during a submission, after its state was printed."""


def watch_command(submission: "Submission") -> str:
    """Return the command that follows a submission again."""
    return f"nemotron logs {submission.name} --follow"


def follow_submission(submission: "Submission") -> None:
    """Stream a submission's output and exit with its code; Ctrl-C asks what to do."""
    from nemotron.launch import follow
    from nemotron.launch.jobs.pending import explain_pending
    from nemotron.launch.jobs.records import find, refresh

    profile = submission.profile

    def on_state(job: "Job", state: "JobState") -> None:
        reason = f" ({state.reason})" if state.reason else ""
        console.note(f"{job.stage} {job.id}: {state.name.lower()}{reason}")
        if state.name == "PENDING" and (advice := explain_pending(state.reason)):
            console.note(f"  It will stay pending: {advice.replace('JOB', job.id)}.")
            console.note(f"  To cancel it: nemotron cancel {submission.name}, and correct [{profile.name}].")
        if state.is_final and submission.tunnel is not None:
            refresh(find(submission.name)[0])  # while Slurm still knows the job

    try:
        code = follow(submission, on_output=console.log, on_state=on_state)
    except KeyboardInterrupt:
        if submission.tunnel is None:
            raise typer.Exit(130) from None
        _handle_interrupt(submission)
    else:
        if code == STOPPED:
            console.note("Training was stopped and has saved. The same command continues it.")
        if code:
            raise typer.Exit(code)


def _handle_interrupt(submission: "Submission") -> None:
    """Detach, or cancel when a person at a terminal chooses to."""
    try:
        answer = input("\nDetach (Enter) or cancel the jobs (c)? ") if sys.stdin.isatty() else ""
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() in ("c", "cancel"):
        cancel_submission(submission.name)
    else:
        console.note("Detached; the jobs continue.")
        console.note(f"To come back: {watch_command(submission)}")
        console.note(f"To cancel:    nemotron cancel {submission.name}")
    raise Detached


def cancel_submission(wanted: str) -> None:
    """Cancel a job, or all jobs of a submission, and say which.

    Args:
        wanted: Slurm's job id, or the submission's name.
    """
    from nemotron.launch.jobs.records import cancel as cancel_jobs
    from nemotron.launch.jobs.records import find

    cancelled, ended = cancel_jobs(*find(wanted))
    for job in ended:
        console.note(f"{job.stage} {job.id} had already ended: {job.state.lower()}.")
    if cancelled:
        console.out(f"Cancelled {', '.join(f'{job.stage} {job.id}' for job in cancelled)}.")
