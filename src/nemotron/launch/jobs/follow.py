"""Wait for a submission: report its output, its jobs' states and its exit code.

NeMo-Run's own attached mode asks `sacct` for the state of a job, cancels the job if there is no answer (there is none
on a cluster without accounting), and copies the whole log each time. So we ask `scontrol`, which every Slurm has, and
read only what is new.
"""

import base64
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from nemotron.exit_codes import INTERRUPTED, STOPPED
from nemotron.launch.jobs.state import (
    FORGOTTEN,
    JobState,
    ask,
    ask_state,
    cut_to_stage,
    read_first_failure,
    read_logged_end,
)
from nemotron.launch.jobs.submission import Job, Submission
from nemotron.launch.local import run_to_end
from nemotron.launch.shell import LaunchError

_LOCAL_STATES = {0: "COMPLETED", STOPPED: "STOPPED", INTERRUPTED: "CANCELLED"}
"""The state of a stage on this machine by its exit code; any other code means failure. STOPPED is our own word."""
_COMPLAINT = re.compile(r"^(srun|slurmstepd|pyxis|enroot)\b.*:|: line \d+: |\berror:", re.IGNORECASE)
_BYTES_PER_LOOK = 1 << 20
_LOST_AFTER = 30
"""Polls without an answer before a job counts as lost: busy controllers and dropped connections are routine."""


def follow(
    submission: Submission,
    *,
    on_output: Callable[[str], object],
    on_state: Callable[[Job, JobState], object] = lambda job, state: None,
    interval: float = 5.0,
) -> int:
    """Wait for every job, reporting its output and each change of its state.

    A local profile's stages run now and write to this terminal; after a failure no further stage is started. On Slurm,
    Ctrl-C leaves the jobs running.

    Args:
        submission: What `submit` returned.
        on_output: Called with new output, in whole lines.
        on_state: Called with a job and its new state.
        interval: Seconds between polls.

    Returns:
        The exit code of the first failure, or 0.

    Raises:
        LaunchError: Slurm no longer knows a job.
    """
    if submission.tunnel is None:
        return _run_locally(submission, on_state)
    for job in submission.jobs:
        state = _follow_job(submission.tunnel, job, on_output, on_state, interval)
        if state.exit_code:
            return state.exit_code
    return 0


def _run_locally(submission: Submission, on_state: Callable[[Job, JobState], object]) -> int:
    for job in submission.jobs:
        on_state(job, JobState("RUNNING"))
        code = run_to_end(job.command, os.environ | dict(job.secrets), job.given)
        on_state(job, JobState(_LOCAL_STATES.get(code, "FAILED"), exit_code=code))
        if code:
            return code
    return 0


def _follow_job(
    tunnel: Any,
    job: Job,
    on_output: Callable[[str], object],
    on_state: Callable[[Job, JobState], object],
    interval: float,
) -> JobState:
    log = _Log(tunnel, job.log)
    last = None
    while True:
        state = _wait_for_state(tunnel, job, interval)  # before the log, which is complete once the job has finished
        if (state.name, state.reason) != last:
            last = (state.name, state.reason)
            on_state(job, state)
        for text in log.read(to_the_end=state.is_final):
            on_output(text)
        if state.is_final:
            break
        time.sleep(interval)
    if state.exit_code and not log.offset:  # it failed before the stage began
        on_output(_pick_errors("".join(_Log(tunnel, job.batch_log).read(to_the_end=True))))
    if state.exit_code > 128 and (own := read_first_failure(tunnel, job.batch_log)):
        return replace(state, exit_code=own)
    return state


def _pick_errors(batch_log: str) -> str:
    """Pick the errors of Slurm, the container runtime and bash from a traced log.

    Without any, the whole log is returned.
    """
    lines = cut_to_stage(batch_log).splitlines(keepends=True)
    errors = [line for line in lines if _COMPLAINT.search(line)]
    return "".join(errors) or batch_log


def _wait_for_state(tunnel: Any, job: Job, interval: float) -> JobState:
    for _ in range(_LOST_AFTER):
        state = ask_state(tunnel, job.id)
        if state is not None and state.name == FORGOTTEN:
            if ended := read_logged_end(tunnel, job.batch_log):
                return ended
            break
        if state is not None:
            return state
        time.sleep(interval)
    raise LaunchError(
        f"Slurm no longer reports the state of job {job.id} ({job.stage}).", f"Its log, on the cluster: {job.log}"
    )


def read_log(tunnel: Any, job: Job) -> str:
    """Read a job's log so far; before the stage starts, the batch script's errors."""
    text = "".join(_Log(tunnel, job.log).read(to_the_end=True))
    return text or _pick_errors("".join(_Log(tunnel, job.batch_log).read(to_the_end=True)))


class _Log:
    """Reads what is new in the growing files of a pattern.

    The files are read as one, in the order of their names: a job that Slurm restarts writes another file.
    """

    def __init__(self, tunnel: Any, pattern: str) -> None:
        self.offset = 0
        """Bytes read so far."""
        self._tunnel = tunnel
        folder, _, names = pattern.rpartition("/")
        self._files = f"{shlex.quote(folder)}/{names}"
        self._pending = b""

    def read(self, *, to_the_end: bool) -> Iterator[str]:
        """Read what is new, in whole lines; `to_the_end` adds an unfinished last line."""
        while new := self._next_bytes():
            self.offset += len(new)
            lines, newline, self._pending = (self._pending + new).rpartition(b"\n")
            if newline:
                yield (lines + newline).decode(errors="replace")
        if to_the_end and self._pending:
            yield self._pending.decode(errors="replace")
            self._pending = b""

    def _next_bytes(self) -> bytes:
        """Read the next bytes, sent as base64 because a block may end within a character."""
        part = f"tail -c +{self.offset + 1} | head -c {_BYTES_PER_LOOK} | base64 -w 0"
        return base64.b64decode(ask(self._tunnel, f"cat {self._files} 2>/dev/null | {part}"))
