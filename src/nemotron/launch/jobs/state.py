"""Ask Slurm for the state of a job; read the job's log if Slurm has forgotten it."""

import re
import shlex
from dataclasses import dataclass, replace
from typing import Any

FORGOTTEN = "FORGOTTEN"
"""Our own word: the controller no longer knows the job, and the cluster has no accounting."""
STAGE_BEGINS = "# Command 1"
"""The line of NeMo-Run's script, repeated in its log, after which the stage starts."""
_FINAL = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "PREEMPTED",
    FORGOTTEN,
}


@dataclass(frozen=True)
class JobState:
    """What Slurm says about a job."""

    name: str
    """Slurm's word: PENDING, RUNNING, COMPLETED, FAILED, ...; or FORGOTTEN."""
    reason: str = ""
    """Slurm's word for why the job waits or failed; "" without a reason."""
    exit_code: int = 0
    """Exit code of the batch script, or 128 + the signal that ended it. Never 0 for a failed job."""

    node: str = ""
    """The nodes that the job runs or ran on, in Slurm's notation."""
    elapsed: str = ""
    """The run time, in Slurm's notation."""

    @property
    def is_final(self) -> bool:
        return self.name in _FINAL


def ask_state(tunnel: Any, job_id: str) -> JobState | None:
    """Ask Slurm for the state of a job; None means no answer.

    The controller forgets a job minutes after its end. After that, only accounting knows it.
    """
    answer = ask(tunnel, f"scontrol show job -o {job_id} 2>&1")
    if name := re.search(r"\bJobState=(\w+)", answer):
        reason, code = re.search(r"\bReason=(\S+)", answer), re.search(r"\bExitCode=(\d+):(\d+)", answer)
        node, elapsed = re.search(r"\bNodeList=(\S+)", answer), re.search(r"\bRunTime=(\S+)", answer)
        seen = _state(name[1], reason[1] if reason else "", code)
        place = "" if node is None or node[1] == "(null)" else node[1]
        return replace(seen, node=place, elapsed=elapsed[1] if elapsed else "")
    accounts = ask(tunnel, f"sacct -X -n -P -o State,ExitCode,NodeList,Elapsed -j {job_id}")
    if name := re.match(r"(\w+)[^|]*\|(\d+):(\d+)", accounts):
        node, elapsed = [*accounts.splitlines()[0].split("|")[2:], "", ""][:2]
        return replace(_state(name[1], "", re.search(r"(\d+):(\d+)", accounts)), node=node, elapsed=elapsed)
    return JobState(FORGOTTEN) if "Invalid job id" in answer else None


def read_logged_end(tunnel: Any, batch_log: str) -> JobState | None:
    """Read how a job ended from the last line of NeMo-Run's script in its log.

    Args:
        tunnel: The connection to the cluster.
        batch_log: A shell pattern, as in `Job.batch_log`.

    Returns:
        The final state, or None if the script did not get that far.
    """
    said = ask(tunnel, f"cat {batch_log} 2>/dev/null | grep -o '^job exited with code [0-9]*$' | tail -n 1")
    if not (code := re.search(r"\d+", said)):
        return None
    return JobState("FAILED" if int(code[0]) else "COMPLETED", exit_code=int(code[0]))


def read_first_failure(tunnel: Any, batch_log: str) -> int | None:
    """Read the exit code of the node that failed first from srun's messages.

    srun ends the other nodes with a signal, and its own exit code is the highest of all nodes.
    """
    said = cut_to_stage(ask(tunnel, f"cat {batch_log} 2>/dev/null | grep -e '^srun: error: ' -e '{STAGE_BEGINS}'"))
    code = re.search(r"^srun: error: .*: Exited with exit code (\d+)$", said, re.MULTILINE)
    return int(code[1]) if code else None


def cut_to_stage(batch_log: str) -> str:
    """Return the log of the stage itself, from the last run of a batch script.

    If the script did not get that far, the whole log is returned.
    """
    return batch_log.rpartition(f"{STAGE_BEGINS}\n")[2]


def find_job_id(tunnel: Any, folder: str) -> str:
    """Find the id of the job that was submitted with a folder; "" without one.

    Args:
        tunnel: The connection to the cluster.
        folder: The folder of the job, as in `Job.folder`.
    """
    script, logs = shlex.quote(f"{folder}_sbatch.sh"), f"{shlex.quote(folder)}/sbatch_*.out"
    queued = f"""squeue -h -u "$(id -un)" -o '%A %o' 2>/dev/null | grep -F -- {script} | cut -d' ' -f1"""
    started = f"ls {logs} 2>/dev/null | sed -E 's/.*_([0-9]+)[.]out/\\1/'"
    return next(iter(ask(tunnel, f"{queued}; {started}").split()), "")


def ask(tunnel: Any, command: str) -> str:
    """Return the output of a command on the cluster; "" if it or the connection fails."""
    try:
        return tunnel.run(command, hide=True, warn=True, in_stream=False).stdout
    except (OSError, EOFError):
        return ""


def _state(name: str, reason: str, code: re.Match[str] | None) -> JobState:
    status, signal = (int(code[1]), int(code[2])) if code else (0, 0)
    exit_code = status or (128 + signal if signal else 0)
    if name in _FINAL - {"COMPLETED"}:
        exit_code = exit_code or 1
    return JobState(name, "" if reason == "None" else reason, exit_code)
