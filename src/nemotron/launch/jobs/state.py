"""Ask Slurm for the state of a job, and its own log when Slurm has forgotten it."""

import re
import shlex
from dataclasses import dataclass, replace
from typing import Any

FORGOTTEN = "FORGOTTEN"
"""Our word: the controller knows no such job any more, and the cluster keeps no accounts."""
STAGE_BEGINS = "# Command 1"
"""The line of NeMo-Run's script, which its log repeats, after which the stage is started."""
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
    """What Slurm says of a job."""

    name: str
    """Slurm's word: PENDING, RUNNING, COMPLETED, FAILED, ...; or FORGOTTEN."""
    reason: str = ""
    """Why it waits or failed, Slurm's word; "" when there is nothing to say."""
    exit_code: int = 0
    """Of the batch script; 128 + the signal's number when one ended it. Never 0 for a job that failed."""

    node: str = ""
    """Where it runs or ran, as Slurm writes a list of nodes."""
    elapsed: str = ""
    """How long, as Slurm writes it."""

    @property
    def is_final(self) -> bool:
        return self.name in _FINAL


def job_state(tunnel: Any, job_id: str) -> JobState | None:
    """Ask Slurm for the state of a job; None when it does not answer.

    The controller forgets a job minutes after its end; from then on only the accounting knows it.
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


def logged_end(tunnel: Any, batch_log: str) -> JobState | None:
    """Read how a job ended from the last line of NeMo-Run's script in its log.

    Args:
        tunnel: Reaches the cluster.
        batch_log: A shell pattern, as `Job.batch_log`.

    Returns:
        None when the script did not come that far.
    """
    said = ask(tunnel, f"cat {batch_log} 2>/dev/null | grep -o '^job exited with code [0-9]*$' | tail -n 1")
    if not (code := re.search(r"\d+", said)):
        return None
    return JobState("FAILED" if int(code[0]) else "COMPLETED", exit_code=int(code[0]))


def first_failure(tunnel: Any, batch_log: str) -> int | None:
    """Read the exit code of the node that failed first from what srun said.

    srun ends the other nodes with a signal, and its own exit code is the highest of all.
    """
    said = stage_part(ask(tunnel, f"cat {batch_log} 2>/dev/null | grep -e '^srun: error: ' -e '{STAGE_BEGINS}'"))
    code = re.search(r"^srun: error: .*: Exited with exit code (\d+)$", said, re.MULTILINE)
    return int(code[1]) if code else None


def stage_part(batch_log: str) -> str:
    """Cut off what came before the stage, in the last run of a batch script.

    All when it did not come that far.
    """
    return batch_log.rpartition(f"{STAGE_BEGINS}\n")[2]


def job_id(tunnel: Any, folder: str) -> str:
    """Find the id of the job that was submitted with this folder.

    "" when there is none.

    Args:
        tunnel: Reaches the cluster.
        folder: The job's, as `Job.folder`.
    """
    script, logs = shlex.quote(f"{folder}_sbatch.sh"), f"{shlex.quote(folder)}/sbatch_*.out"
    queued = f"""squeue -h -u "$(id -un)" -o '%A %o' 2>/dev/null | grep -F -- {script} | cut -d' ' -f1"""
    started = f"ls {logs} 2>/dev/null | sed -E 's/.*_([0-9]+)[.]out/\\1/'"
    return next(iter(ask(tunnel, f"{queued}; {started}").split()), "")


def ask(tunnel: Any, command: str) -> str:
    """Run a command on the cluster; "" when it or the connection fails."""
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
