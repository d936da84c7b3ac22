"""Submit stages: to Slurm through NeMo-Run, or to this machine."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nemotron.errors import UserError
from nemotron.launch.executors.docker import check_docker, docker_command, docker_input
from nemotron.launch.executors.slurm import experiment
from nemotron.launch.jobs.state import job_id
from nemotron.launch.package import LAUNCH_SCRIPT, write_package
from nemotron.launch.placement import Placement
from nemotron.launch.profiles import Profile
from nemotron.launch.secrets import put_secrets
from nemotron.launch.shell import LaunchError, check_host


@dataclass(frozen=True)
class Job:
    """One submitted stage."""

    stage: str
    id: str
    """Slurm's job id; "" on this machine."""
    folder: str
    """Where its code, config and logs are, on the cluster."""
    secrets_file: str = ""
    """Where its secrets are, on the cluster; "" when it has none."""
    writes: tuple[str, ...] = ()
    """The folders it writes to, on the cluster."""
    command: tuple[str, ...] = ()
    """What runs it on this machine."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that the command gets besides this process's; on a cluster a file has them."""
    given: str | None = field(default=None, repr=False)
    """The command's standard input."""

    @property
    def log(self) -> str:
        """Return the stage's output, as a shell pattern.

        Slurm starts another file when it restarts the job.
        """
        return f"{self.folder}/log-*_{self.id}_*.out"

    @property
    def batch_log(self) -> str:
        """Output of the batch script: Slurm and the container runtime. A pattern too."""
        return f"{self.folder}/sbatch_*_{self.id}.out"


@dataclass(frozen=True)
class Submission:
    """What `submit` did; `follow` waits for it."""

    name: str
    profile: Profile
    jobs: tuple[Job, ...]
    tunnel: Any = field(default=None, repr=False)
    """NeMo-Run's connection to the cluster; None on this machine."""


def submit(placements: Sequence[Placement]) -> Submission:
    """Submit the placed stages in order; each starts after the one before succeeds.

    Returns:
        When Slurm has accepted all of them (or, for a local profile, when their files are written; `follow` runs them).

    Raises:
        LaunchError: The cluster refused one, in Slurm's own words, or cannot be reached.
    """
    name, profile = placements[0].experiment, placements[0].profile
    if profile.is_here:
        return Submission(name, profile, tuple(_place_here(placement) for placement in placements))
    if profile.tunnel == "ssh":
        check_host(profile, [placement.python for placement in placements if not placement.image])
    any_secret = any(placement.secrets for placement in placements)
    with open_experiment(placements) as opened:
        tunnel = opened.jobs[0].executor.tunnel
        try:
            _check_containers(placements, tunnel)
            if any_secret:
                for placement in placements:
                    put_secrets(tunnel, placement.secrets_file, placement.secrets)
            opened.run(detach=True)
            tunnel.run(f"chmod 700 {shlex.quote(tunnel.job_dir)}/*_sbatch.sh", hide=True, warn=True, in_stream=False)
        except UserError:
            raise
        except KeyboardInterrupt:
            _take_back(opened, tunnel, placements)
            raise
        except (Exception, SystemExit) as error:  # NeMo-Run exits when ssh refuses the login
            if hasattr(error, "result"):  # a command ran there and failed, so others can
                _take_back(opened, tunnel, placements)
            raise _refused(error, profile) from error
        opened.tunnels.clear()  # or the end of the experiment closes the connection that `follow` goes on using
        jobs = [
            Job(
                placement.stage.name,
                _slurm_id(job.handle),
                f"{tunnel.job_dir}/{placement.stage.name}",
                placement.secrets_file if any_secret else "",
                tuple(placement.writes.values()),
            )
            for placement, job in zip(placements, opened.jobs, strict=True)
        ]
    return Submission(name, profile, tuple(jobs), tunnel)


def batch_scripts(placements: Sequence[Placement]) -> dict[str, str]:
    """Write each stage's sbatch script as `submit` would; imports NeMo-Run.

    Returns:
        Scripts by the stage's name; {} without Slurm.
    """
    if placements[0].profile.executor != "slurm":
        return {}
    with open_experiment(placements, dry=True) as opened:
        opened.dryrun(log=False, delete_exp_dir=False)
        written = {job.id: Path(job.executor.experiment_dir, f"{job.id}_sbatch.sh") for job in opened.jobs}
        return {stage: path.read_text(encoding="utf-8") for stage, path in written.items()}


@contextmanager
def open_experiment(placements: Sequence[Placement], *, dry: bool = False) -> Iterator[Any]:
    """Write the packages of a submission and enter its Experiment.

    Args:
        placements: The stages, in order.
        dry: Leave no files.
    """
    with TemporaryDirectory() as temporary:
        packages = Path(temporary, "packages")
        for placement in placements:
            write_package(packages / placement.stage.name, placement)
        # NeMo-Run copies nothing when sbatch runs on this machine: it must write into the jobs' own folder.
        here = placements[0].profile.tunnel == "local" and not dry
        staging = Path(placements[0].root).parent if here else Path(temporary)
        with experiment(placements, packages, staging) as opened:
            yield opened


def _place_here(placement: Placement) -> Job:
    in_docker = placement.profile.executor == "docker"
    if in_docker:
        check_docker(placement)
    code = Path(placement.folder, "code")
    write_package(code, placement)
    name, folder, secrets = placement.stage.name, placement.folder, placement.secrets
    if in_docker:
        return Job(name, "", folder, command=tuple(docker_command(placement)), given=docker_input(secrets))
    return Job(name, "", folder, command=("bash", str(code / LAUNCH_SCRIPT)), secrets=secrets)


def _check_containers(placements: Sequence[Placement], tunnel: Any) -> None:
    """Refuse a container where the cluster's srun does not support them."""
    images = [placement.image for placement in placements if placement.image]
    profile = placements[0].profile
    pyxis = "! command -v srun > /dev/null || srun --help 2>&1 | grep -q -e --container-image"
    if images and not tunnel.run(pyxis, hide=True, warn=True, in_stream=False).ok:
        raise LaunchError(
            f"The job should run in the container {images[0]}, but the cluster of profile {profile.name} has no "
            "container support: its srun has no option --container-image, which pyxis adds.",
            f'To run without a container, set container_image = "none" in [{profile.name}] of {profile.source}.',
        )


def _slurm_id(handle: str) -> str:
    """`slurm_tunnel://nemo_run/123` -> `123`.

    A federation's sbatch says `123;cluster`.
    """
    return handle.partition("://")[2].split("/")[1].partition(";")[0]


def _take_back(opened: Any, tunnel: Any, placements: Sequence[Placement]) -> None:
    """Cancel what was accepted of a failed submission, and remove its secrets."""
    accepted = [_slurm_id(job.handle) if job.handle else "" for job in opened.jobs]
    ids = [known or job_id(tunnel, placed.folder) for known, placed in zip(accepted, placements, strict=True)]
    commands = [f"rm -f {shlex.join(placement.secrets_file for placement in placements)}"]
    if any(ids):
        commands.append(f"scancel {shlex.join(filter(None, ids))}")
    tunnel.run("; ".join(commands), hide=True, warn=True, in_stream=False)


def _refused(error: BaseException, profile: Profile) -> LaunchError:
    result = getattr(error, "result", None)  # of the shell command that failed; false in itself, since it failed
    if result is None and profile.tunnel == "ssh":
        reason = (
            "it refused the login" if isinstance(error, SystemExit) else str(error).rstrip(".") or type(error).__name__
        )
        address = f"{profile.user}@{profile.host}"
        return LaunchError(f"{address}, of profile {profile.name}, cannot be reached: {reason}.", "Try it with ssh.")
    words = (result.stderr.strip() if result is not None else "") or f"{type(error).__name__}: {error}".strip()
    if "sbatch" in words and "not found" in words:
        return LaunchError(
            f"Profile {profile.name} submits with sbatch, which is not found where it should run.",
            'Submit from a login node of the cluster, or reach one with tunnel = "ssh".',
        )
    return LaunchError(
        f"The cluster of profile {profile.name} did not accept the job: {'; '.join(words.splitlines()[-3:])}",
        f"Correct [{profile.name}] in {profile.source}; --dry-run shows what is submitted.",
    )
