"""Run `nemotron jobs`, `logs` and `cancel`, for jobs submitted from this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import console
from nemotron.cli.submissions import cancel_submission, follow_submission

if TYPE_CHECKING:
    from nemotron.launch.jobs.records import Record, RecordedJob

Wanted = Annotated[str, typer.Argument(metavar="ID", help="Slurm's job id, or the submission's name.")]


def jobs(
    clean: Annotated[
        bool, typer.Option("--clean", help="Forget submissions that have ended, and remove their secrets.")
    ] = False,
) -> None:
    """List the jobs submitted from this machine: state, node, elapsed time, exit code.

    They stay in the list after Slurm has forgotten them. --clean keeps their folders and logs.
    """
    from nemotron.launch.jobs.records import forget_finished, read_records, refresh

    if clean:
        forgotten = forget_finished()
        console.out(f"Forgot {len(forgotten)} submissions that have ended.")
        if forgotten:
            console.table([(record.name, job.folder) for record in forgotten for job in record.jobs])
        return
    records = [refresh(record) for record in read_records()]
    if not records:
        console.out("No jobs were submitted from here. --batch PROFILE and --run PROFILE submit them.")
        return
    header = ("job", "stage", "state", "exit", "node", "elapsed", "profile", "submitted", "submission")
    console.table([_row(record, job) for record in records for job in record.jobs], header=header, right=[3])


def logs(
    wanted: Wanted,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Follow the log until the job ends; exit with its code.")
    ] = False,
) -> None:
    """Print the log of a job; --follow waits for more.

    \b
    Examples:
      nemotron logs 1234
      nemotron logs super3-sft_20260131-120000-1f2e --follow
    """
    from nemotron.launch.jobs.follow import read_log
    from nemotron.launch.jobs.records import find

    record, chosen = find(wanted)
    submission = record.submission(chosen)
    if follow:
        follow_submission(submission)
        return
    for job in submission.jobs:
        if len(chosen) > 1:
            console.note(f"{job.stage} {job.id}:")
        text = read_log(submission.tunnel, job)
        console.log(text)
        if not text:
            console.note(f"Nothing yet in {job.log}")


def cancel(wanted: Wanted) -> None:
    """Cancel a job, or all jobs of a submission, and remove its secrets."""
    cancel_submission(wanted)


def _row(record: "Record", job: "RecordedJob") -> tuple[str, ...]:
    from nemotron.launch.jobs.state import FORGOTTEN

    state = job.state.lower() + (f" ({job.reason})" if job.reason and not job.is_final else "")
    code = str(job.exit_code) if job.is_final and job.state != FORGOTTEN else ""
    return (job.id, job.stage, state, code, job.node, job.elapsed, record.profile, record.submitted, record.name)
