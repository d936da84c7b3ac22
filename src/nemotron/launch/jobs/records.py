"""Record what was submitted from this machine, in one small file per submission.

Records remain after Slurm has forgotten the jobs.
"""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.files.atomic_files import write_text
from nemotron.files.regular_files import read_text
from nemotron.files.typed import typed
from nemotron.launch.jobs.state import FORGOTTEN, JobState, ask_state, find_job_id, read_logged_end
from nemotron.launch.jobs.submission import Job, Submission
from nemotron.launch.placement import Placement
from nemotron.launch.profiles.profile import Profile
from nemotron.launch.shell import LaunchError, Shell

NO_ANSWER = "Slurm does not answer"
"""The reason given for a job whose state could not be read."""
SUBMITTING = "SUBMITTING"
"""Our own word for a job that is being submitted to Slurm."""
_SUBMITS_WITHIN = timedelta(minutes=10)
_CLOCK = "%Y-%m-%dT%H:%M:%SZ"
_ADDRESS = ("tunnel", "host", "user", "port", "identity")


@dataclass(frozen=True)
class RecordedJob:
    """One job of a submission, in its last known state."""

    stage: str
    id: str
    folder: str
    secrets_file: str = ""
    writes: Sequence[str] = ()
    """The folders on the cluster that the job writes to."""
    state: str = "SUBMITTED"
    reason: str = ""
    exit_code: int = 0
    node: str = ""
    elapsed: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return JobState(self.state).is_final

    @property
    def as_job(self) -> Job:
        """The job as `follow` takes it."""
        return Job(self.stage, self.id, self.folder)


@dataclass(frozen=True)
class Record:
    """One submission."""

    name: str
    profile: str
    submitted: str
    """Time of the submission, in UTC."""
    folder: str
    """The folder that it was submitted from."""
    address: dict[str, Any] = field(default_factory=dict)
    jobs: tuple[RecordedJob, ...] = ()

    def cluster(self) -> Profile:
        """Return the part of the profile that is needed to reach the cluster."""
        return Profile("slurm", name=self.profile, **self.address)

    def submission(self, jobs: Sequence[RecordedJob]) -> Submission:
        """Return some of the jobs as a Submission, for `follow`."""
        listed = tuple(job.as_job for job in jobs)
        return Submission(self.name, self.cluster(), listed, Shell(self.cluster()))


def find_records_folder() -> Path:
    """Return the folder of records.

    It is nemotron/jobs in $XDG_STATE_HOME or ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "nemotron", "jobs")


def announce(placements: Sequence[Placement]) -> None:
    """Record a submission before it is made.

    A process that is killed while submitting may leave jobs and secrets behind.
    """
    jobs = [
        RecordedJob(
            placement.stage.name,
            "",
            placement.folder,
            placement.secrets_file,
            tuple(placement.writes.values()),
            state=SUBMITTING,
        )
        for placement in placements
    ]
    _write(_make_record(placements[0].experiment, placements[0].profile, jobs))


def keep(submission: Submission) -> Record:
    """Record a submission that was accepted."""
    jobs = [RecordedJob(job.stage, job.id, job.folder, job.secrets_file, job.writes) for job in submission.jobs]
    record = _make_record(submission.name, submission.profile, jobs)
    _write(record)
    return record


def forget(name: str) -> None:
    """Remove the record of a submission."""
    (find_records_folder() / f"{name}.json").unlink(missing_ok=True)


def _make_record(name: str, profile: Profile, jobs: Sequence[RecordedJob]) -> Record:
    address = {key: getattr(profile, key) for key in _ADDRESS if getattr(profile, key) is not None}
    now = f"{datetime.now(UTC):{_CLOCK}}"
    return Record(name, profile.name, now, str(Path.cwd()), address, tuple(jobs))


def read_records() -> list[Record]:
    """Read every record, newest first; files that are not records are ignored."""
    records = []
    for path in find_records_folder().glob("*.json"):
        try:
            records.append(typed(Record, json.loads(read_text(path))))
        except (OSError, ValueError, RecursionError):
            continue
    return sorted(records, key=lambda record: record.submitted, reverse=True)


def find(wanted: str) -> tuple[Record, tuple[RecordedJob, ...]]:
    """Find a job by Slurm's id, or all jobs of a submission by its name.

    Raises:
        UserError: Nothing with this name or id was submitted from this machine.
    """
    records = read_records()
    for record in records:
        if jobs := tuple(job for job in record.jobs if wanted in (record.name, job.id)):
            return record, jobs
    known = [word for record in records for word in (record.name, *(job.id for job in record.jobs))]
    raise UserError(
        f"No job {wanted} was submitted from here.", did_you_mean(wanted, known) or "nemotron jobs lists them."
    )


def refresh(record: Record) -> Record:
    """Ask Slurm about the unfinished jobs of a record, and save the answers."""
    if all(job.is_final for job in record.jobs):
        return record
    shell = Shell(record.cluster())
    updated = replace(record, jobs=tuple(job if job.is_final else _update(shell, job, record) for job in record.jobs))
    if updated != record:
        _write(updated)
    return updated


def _update(shell: Shell, job: RecordedJob, record: Record) -> RecordedJob:
    if not job.id:
        if not (found := find_job_id(shell, job.folder)):
            age = datetime.now(UTC) - datetime.strptime(record.submitted, _CLOCK).replace(tzinfo=UTC)
            return replace(job, state=FORGOTTEN) if age > _SUBMITS_WITHIN else job
        job = replace(job, id=found)
    state = ask_state(shell, job.id)
    if state is None:
        return replace(job, reason=NO_ANSWER)
    if state.name == FORGOTTEN:
        state = read_logged_end(shell, job.as_job.batch_log) or state
    return replace(
        job,
        state=state.name,
        reason=state.reason,
        exit_code=state.exit_code,
        node=state.node or job.node,
        elapsed=state.elapsed or job.elapsed,
    )


def cancel(record: Record, jobs: Sequence[RecordedJob]) -> tuple[list[RecordedJob], list[RecordedJob]]:
    """Cancel the jobs that have not ended, and remove the secrets of all jobs.

    Returns:
        The cancelled jobs, and the jobs that had already ended.

    Raises:
        LaunchError: The cluster did not accept the command.
    """
    wanted = {job.stage for job in jobs}
    current = [job for job in refresh(record).jobs if job.stage in wanted]
    working, ended = [job for job in current if not job.is_final], [job for job in current if job.is_final]
    files = [job.secrets_file for job in current if job.secrets_file]
    commands = [f"scancel {shlex.join(ids)}"] if (ids := [job.id for job in working if job.id]) else []
    commands += [f"rm -f {shlex.join(files)}"] if files else []
    answer = Shell(record.cluster()).run(" && ".join(commands) or "true")
    if not answer.ok:
        words = answer.stderr.strip() or f"exit code {answer.code}"
        raise LaunchError(f"The jobs of {record.name} were not cancelled: {words}", "Try scancel on the cluster.")
    refresh(record)
    return working, ended


def forget_finished() -> list[Record]:
    """Remove the records and secrets of ended submissions, but not their folders.

    Returns:
        The records that were removed.
    """
    finished = [record for record in map(refresh, read_records()) if all(job.is_final for job in record.jobs)]
    for record in finished:
        if files := [job.secrets_file for job in record.jobs if job.secrets_file]:
            Shell(record.cluster()).run(f"rm -f {shlex.join(files)}")
        forget(record.name)
    return finished


def _write(record: Record) -> None:
    write_text(find_records_folder() / f"{record.name}.json", json.dumps(asdict(record), indent=1) + "\n")
