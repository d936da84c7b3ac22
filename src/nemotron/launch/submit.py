"""Submit stages to Slurm through NeMo-Run, or run them on this machine."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nemotron.errors import UserError
from nemotron.files.regular_files import read_text
from nemotron.launch.executors.docker import check_docker, docker_command, docker_input
from nemotron.launch.executors.slurm import open_slurm_experiment
from nemotron.launch.jobs.state import find_job_id
from nemotron.launch.jobs.submission import Job, Submission
from nemotron.launch.package import LAUNCH_SCRIPT, write_package
from nemotron.launch.placement import Placement
from nemotron.launch.profiles.profile import Profile
from nemotron.launch.secrets import put_secrets
from nemotron.launch.shell import LaunchError, check_host


def submit(placements: Sequence[Placement]) -> Submission:
    """Submit the placed stages in order; each starts after the one before succeeds.

    Returns:
        The submission, once Slurm has accepted all jobs. For a local profile only files are written; `follow` runs the
            stages.

    Raises:
        LaunchError: The cluster refused a job (the message has Slurm's own words) or cannot be reached.
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
        except (Exception, SystemExit) as error:  # NeMo-Run exits if ssh refuses the login
            if hasattr(error, "result"):  # a command ran there and failed, so the host can be reached
                _take_back(opened, tunnel, placements)
            raise _explain_refusal(error, profile) from error
        opened.tunnels.clear()  # otherwise the end of the experiment closes the connection that `follow` still uses
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
    """Return each stage's sbatch script as `submit` would write it; imports NeMo-Run.

    Returns:
        Scripts by the name of the stage; {} without Slurm.
    """
    if placements[0].profile.executor != "slurm":
        return {}
    with open_experiment(placements, dry=True) as opened:
        opened.dryrun(log=False, delete_exp_dir=False)
        written = {job.id: Path(job.executor.experiment_dir, f"{job.id}_sbatch.sh") for job in opened.jobs}
        return {stage: read_text(path) for stage, path in written.items()}


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
        # NeMo-Run copies nothing if sbatch runs on this machine, so it must write directly to the jobs' folder.
        here = placements[0].profile.tunnel == "local" and not dry
        staging = Path(placements[0].root).parent if here else Path(temporary)
        with open_slurm_experiment(placements, packages, staging) as opened:
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
    """Refuse a container if the cluster's srun does not support containers."""
    images = [placement.image for placement in placements if placement.image]
    profile = placements[0].profile
    pyxis = "! command -v srun > /dev/null || srun --help 2>&1 | grep -q -e --container-image"
    if images and not tunnel.run(pyxis, hide=True, warn=True, in_stream=False).ok:
        raise LaunchError(
            f"The job asks for the container {images[0]}, but the cluster of profile {profile.name} has no "
            "container support: its srun has no option --container-image, which pyxis adds.",
            f'To run without a container, set container_image = "none" in [{profile.name}] of {profile.source}.',
        )


def _slurm_id(handle: str) -> str:
    """Return the job id of a handle: `123` of `slurm_tunnel://nemo_run/123`.

    The sbatch of a federation says `123;cluster`.
    """
    return handle.partition("://")[2].split("/")[1].partition(";")[0]


def _take_back(opened: Any, tunnel: Any, placements: Sequence[Placement]) -> None:
    """Cancel the accepted jobs of a failed submission, and remove its secrets."""
    accepted = [_slurm_id(job.handle) if job.handle else "" for job in opened.jobs]
    ids = [known or find_job_id(tunnel, placed.folder) for known, placed in zip(accepted, placements, strict=True)]
    commands = [f"rm -f {shlex.join(placement.secrets_file for placement in placements)}"]
    if any(ids):
        commands.append(f"scancel {shlex.join(filter(None, ids))}")
    tunnel.run("; ".join(commands), hide=True, warn=True, in_stream=False)


def _explain_refusal(error: BaseException, profile: Profile) -> LaunchError:
    result = getattr(error, "result", None)  # of the shell command that failed; it is falsy because it failed
    if result is None and profile.tunnel == "ssh":
        reason = (
            "it refused the login" if isinstance(error, SystemExit) else str(error).rstrip(".") or type(error).__name__
        )
        address = f"{profile.user}@{profile.host}"
        return LaunchError(
            f"{address}, the host of profile {profile.name}, cannot be reached: {reason}.", "Try it with ssh."
        )
    words = (result.stderr.strip() if result is not None else "") or f"{type(error).__name__}: {error}".strip()
    if "sbatch" in words and "not found" in words:
        return LaunchError(
            f"Profile {profile.name} submits with sbatch, which is not installed on the submitting host.",
            'Submit from a login node of the cluster, or reach one with tunnel = "ssh".',
        )
    return LaunchError(
        f"The cluster of profile {profile.name} did not accept the job: {'; '.join(words.splitlines()[-3:])}",
        f"Correct [{profile.name}] in {profile.source}; --dry-run shows what is submitted.",
    )
