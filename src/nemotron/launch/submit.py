"""Submitting stages: to Slurm through NeMo-Run, or to this machine."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nemotron.errors import UserError
from nemotron.launch.executors import experiment, experiment_name, jobs_root, secrets_path, workdir
from nemotron.launch.package import container_image, write_package
from nemotron.launch.profiles import Profile
from nemotron.launch.secrets import collect_secrets, put_secrets
from nemotron.launch.stages import Stage


class LaunchError(UserError):
    """The cluster refused a job, or lost one."""


@dataclass(frozen=True)
class Job:
    """One submitted stage."""

    stage: str
    id: str
    """Slurm's job id; "" on this machine."""
    folder: str
    """Where its code, config and logs are, on the cluster."""

    @property
    def log(self) -> str:
        """The stage's output, a shell pattern: Slurm starts another file when it restarts the job."""
        return f"{self.folder}/log-*_{self.id}_*.out"

    @property
    def batch_log(self) -> str:
        """The batch script's own output: what Slurm and the container runtime say. A shell pattern too."""
        return f"{self.folder}/sbatch_*_{self.id}.out"


@dataclass(frozen=True)
class Submission:
    """What `submit` did; `follow` waits for it."""

    name: str
    profile: Profile
    jobs: tuple[Job, ...]
    tunnel: Any = field(default=None, repr=False)
    """NeMo-Run's connection to the cluster; None on this machine."""

    @property
    def cancel_command(self) -> str:
        """What a user types to stop the jobs."""
        cancel = " ".join(["scancel", *(job.id for job in self.jobs)])
        return cancel if self.profile.tunnel == "local" else f"ssh {self.profile.user}@{self.profile.host} {cancel}"


def submit(stages: Sequence[Stage], profile: Profile, *, attached: bool) -> Submission:
    """Hand `stages` to the profile's cluster, in order: each starts when the one before has succeeded.

    Returns when Slurm has accepted all of them (or, for a local profile, when their files are written; `follow` runs
    them). `attached` chooses between the profile's run_partition and batch_partition. LaunchError, with Slurm's own
    words, when it refuses one; UserError for a profile that cannot be used.
    """
    name = experiment_name(stages)
    if profile.executor == "local":
        return _place_locally(name, stages, profile, attached)
    root = jobs_root(profile)
    secrets = {stage.name: collect_secrets(profile.for_stage(stage.name)) for stage in stages}
    with TemporaryDirectory() as temporary:
        packages = Path(temporary, "packages")
        write_packages(packages, stages, profile)
        # NeMo-Run copies nothing when sbatch runs on this machine: it must write into the jobs' own folder.
        staging = Path(root).parent if profile.tunnel == "local" else Path(temporary)
        with experiment(
            name, stages, profile, packages, staging, attached=attached, secret=any(secrets.values())
        ) as opened:
            tunnel = opened.jobs[0].executor.tunnel
            try:
                _check_containers(stages, profile, tunnel)
                if any(secrets.values()):
                    for stage in stages:
                        put_secrets(tunnel, secrets_path(root, name, stage), secrets[stage.name])
                opened.run(detach=True)
            except UserError:
                raise
            except (Exception, SystemExit) as error:  # NeMo-Run exits when ssh refuses the login
                if hasattr(error, "result"):  # a command ran there and failed, so others can
                    _take_back(opened, tunnel, [secrets_path(root, name, stage) for stage in stages])
                raise _refused(error, profile) from error
            opened.tunnels.clear()  # or the end of the experiment closes the connection that `follow` goes on using
            jobs = [
                Job(stage.name, _slurm_id(job.handle), f"{tunnel.job_dir}/{stage.name}")
                for stage, job in zip(stages, opened.jobs, strict=True)
            ]
    return Submission(name, profile, tuple(jobs), tunnel)


def write_packages(packages: Path, stages: Sequence[Stage], profile: Profile) -> None:
    """A package folder per stage, below `packages`."""
    for stage in stages:
        for_stage = profile.for_stage(stage.name)
        write_package(packages / stage.name, stage, for_stage, workdir(for_stage))


def _place_locally(name: str, stages: Sequence[Stage], profile: Profile, attached: bool) -> Submission:
    if not attached:
        raise UserError(
            f"Profile {profile.name} runs on this machine, which cannot take a detached job.",
            f'Use --run {profile.name}, or a profile with executor = "slurm".',
        )
    folder = Path(jobs_root(profile), name)
    jobs = []
    for stage in stages:
        for_stage = profile.for_stage(stage.name)
        write_package(folder / stage.name / "code", stage, for_stage, workdir(for_stage))
        jobs.append(Job(stage.name, "", str(folder / stage.name)))
    return Submission(name, profile, tuple(jobs))


def _check_containers(stages: Sequence[Stage], profile: Profile, tunnel: Any) -> None:
    """LaunchError when a stage wants a container and the cluster's srun does not know them."""
    images = [image for stage in stages if (image := container_image(stage, profile.for_stage(stage.name)))]
    pyxis = "! command -v srun > /dev/null || srun --help 2>&1 | grep -q -e --container-image"
    if images and not tunnel.run(pyxis, hide=True, warn=True, in_stream=False).ok:
        raise LaunchError(
            f"The job should run in the container {images[0]}, but the cluster of profile {profile.name} has no "
            "container support: its srun has no option --container-image, which pyxis adds.",
            f'To run without a container, set container_image = "none" in [{profile.name}] of {profile.source}.',
        )


def _slurm_id(handle: str) -> str:
    """`slurm_tunnel://nemo_run/123` -> `123`; a federation's sbatch says `123;cluster`."""
    return handle.partition("://")[2].split("/")[1].partition(";")[0]


def _take_back(opened: Any, tunnel: Any, secrets_files: Sequence[str]) -> None:
    """Cancel the jobs that were accepted before a later one was refused, and remove their secrets."""
    commands = [f"rm -f {shlex.join(secrets_files)}"]
    if accepted := [_slurm_id(job.handle) for job in opened.jobs if job.handle]:
        commands.append(f"scancel {shlex.join(accepted)}")
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
