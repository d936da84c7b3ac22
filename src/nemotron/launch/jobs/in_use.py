"""Find who works in the folders that a run is about to write to.

Submitted jobs, and holders of a folder's lock.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nemotron.errors import Problem
from nemotron.folder_lock import find_holder
from nemotron.launch.jobs.records import NO_ANSWER, Record, RecordedJob, read_records, refresh
from nemotron.launch.placement import Placement


def check_folders(placements: Sequence[Placement]) -> Iterator[Problem]:
    """Yield the job, or the process, that works in a folder which the stages write to."""
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
    """Yield the job that works in folders of this machine.

    Their locks are looked at when work begins.

    Args:
        writes: Paths by the config's keys that name them.
    """
    return _check_jobs({key: os.path.realpath(path) for key, path in writes.items()}, None)


def _check_jobs(writes: Mapping[str, str], host: str | None) -> Iterator[Problem]:
    """`host`: where the folders are; None: this machine sees them."""
    records = read_records()
    for key, path in writes.items():
        if found := _find_job(records, path, host):
            record, job = found
            yield Problem(
                f"Job {job.id} ({job.stage}, {job.state.lower()}) of {record.name} writes to {path}, which is {key}.",
                f"Follow it (nemotron logs {job.id} --follow), cancel it (nemotron cancel {job.id}), or choose "
                f"another {key}.",
            )
            return  # its other folders are the same job's


def _check_locks(writes: Mapping[str, str]) -> Iterator[Problem]:
    for key, path in writes.items():
        if holder := find_holder(Path(path)):
            yield Problem(f"{path} is being written by {holder}.", f"Wait until it ends, or choose another {key}.")
            return


def _find_job(records: Sequence[Record], path: str, host: str | None) -> tuple[Record, RecordedJob] | None:
    """Find a job that writes there and has not ended.

    Slurm is asked only about such a job.
    """
    for record in records:
        if record.address.get("host") != host:
            continue
        if any(path in job.writes and not job.is_final for job in record.jobs):
            for job in refresh(record).jobs:
                if path in job.writes and job.id and not job.is_final and job.reason != NO_ANSWER:
                    return record, job
    return None
