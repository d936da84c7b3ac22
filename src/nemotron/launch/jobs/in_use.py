"""Find jobs and processes that write to the folders of a new run."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nemotron.errors import Problem
from nemotron.files.folder_lock import find_holder
from nemotron.launch.jobs.records import NO_ANSWER, Record, RecordedJob, read_records, refresh
from nemotron.launch.placement import Placement


def check_folders(placements: Sequence[Placement]) -> Iterator[Problem]:
    """Yield a problem for each folder of the stages that a job or process writes to."""
    for placement in placements:
        profile = placement.profile
        if profile.is_passed_on:  # its folders are not known here
            continue
        host = profile.host if profile.tunnel == "ssh" else None
        if found := [*_check_jobs(placement.writes, host)]:
            yield from found
        elif host is None:
            yield from _check_locks(placement.writes)


def check_folders_here(writes: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each folder on this machine that a job writes to.

    Locks are checked later, when work starts.

    Args:
        writes: Paths, by the config keys that name them.
    """
    return _check_jobs({key: os.path.realpath(path) for key, path in writes.items()}, None)


def _check_jobs(writes: Mapping[str, str], host: str | None) -> Iterator[Problem]:
    """Yield the job that writes to a folder on `host`; None is this machine."""
    records = read_records()
    for key, path in writes.items():
        if found := _find_job(records, path, host):
            record, job = found
            yield Problem(
                f"Job {job.id} ({job.stage}, {job.state.lower()}) of {record.name} writes to {path}, which is {key}.",
                f"Follow it (nemotron logs {job.id} --follow), cancel it (nemotron cancel {job.id}), or choose "
                f"another {key}.",
            )
            return  # the same job writes to the other folders


def _check_locks(writes: Mapping[str, str]) -> Iterator[Problem]:
    for key, path in writes.items():
        if holder := find_holder(Path(path)):
            yield Problem(f"{path} is being written by {holder}.", f"Wait until it ends, or choose another {key}.")
            return


def _find_job(records: Sequence[Record], path: str, host: str | None) -> tuple[Record, RecordedJob] | None:
    """Find a job that writes to a folder and has not ended.

    Slurm is asked only about such jobs.
    """
    for record in records:
        if record.address.get("host") != host:
            continue
        if any(path in job.writes and not job.is_final for job in record.jobs):
            for job in refresh(record).jobs:
                if path in job.writes and job.id and not job.is_final and job.reason != NO_ANSWER:
                    return record, job
    return None
