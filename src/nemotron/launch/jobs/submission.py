"""Submitted stages, as the process that submitted them and later ones know them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nemotron.launch.profiles.profile import Profile


@dataclass(frozen=True)
class Job:
    """One submitted stage."""

    stage: str
    id: str
    """Slurm's job id; "" on this machine."""
    folder: str
    """The folder on the cluster with the job's code, config and logs."""
    secrets_file: str = ""
    """The file on the cluster with the job's secrets; "" without secrets."""
    writes: tuple[str, ...] = ()
    """The folders on the cluster that the job writes to."""
    command: tuple[str, ...] = ()
    """The command that runs the job on this machine."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables added to those of this process for the command; on a cluster they are in a file."""
    given: str | None = field(default=None, repr=False)
    """The command's standard input."""

    @property
    def log(self) -> str:
        """The log of the stage, as a shell pattern.

        Slurm starts another file when it restarts the job.
        """
        return f"{self.folder}/log-*_{self.id}_*.out"

    @property
    def batch_log(self) -> str:
        """The log of the batch script (Slurm, the container runtime), also as a pattern."""
        return f"{self.folder}/sbatch_*_{self.id}.out"


@dataclass(frozen=True)
class Submission:
    """The result of `submit`; `follow` waits for it."""

    name: str
    profile: Profile
    jobs: tuple[Job, ...]
    tunnel: Any = field(default=None, repr=False)
    """NeMo-Run's connection to the cluster; None on this machine."""
