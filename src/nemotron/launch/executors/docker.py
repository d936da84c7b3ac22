"""Run a stage in a docker container on this machine."""

import shlex
import shutil
from collections.abc import Mapping

from nemotron.launch.package import LAUNCH_SCRIPT
from nemotron.launch.placement import JOB_MOUNT, Placement
from nemotron.launch.secrets import write_exports
from nemotron.launch.shell import LaunchError

_ULIMITS = ("--ulimit=memlock=-1", "--ulimit=stack=67108864")
"""The limits that NVIDIA's images ask for."""


def docker_command(placement: Placement) -> list[str]:
    """Return the command that runs a placed stage.

    It reads secrets from standard input, so that they appear neither in an argument nor in the container's description,
    which docker keeps on disk.
    """
    profile = placement.profile
    options = ["--rm", "--init", "--interactive", f"--name={placement.experiment}-{placement.stage.name}"]
    if profile.gpus_per_node:
        options.append(f"--gpus={profile.gpus_per_node}")
    if profile.runtime:
        options.append(f"--runtime={profile.runtime}")
    if profile.shm_size:
        options.append(f"--shm-size={profile.shm_size}")
    if (
        profile.ipc_mode or not profile.shm_size
    ):  # docker's default /dev/shm of 64 MB is too small for NCCL and data loaders
        options.append(f"--ipc={profile.ipc_mode or 'host'}")
    mounts = [f"{placement.folder}:{JOB_MOUNT}", *placement.mounts]
    options += [*_ULIMITS, *(f"--volume={mount}" for mount in mounts), *profile.docker_args]
    start = f". /dev/stdin; exec bash {shlex.quote(f'{JOB_MOUNT}/code/{LAUNCH_SCRIPT}')} < /dev/null"
    return ["docker", "run", *options, "--entrypoint=bash", str(placement.image), "-c", start]


def docker_input(secrets: Mapping[str, str]) -> str:
    """Return what the command reads: bash lines that export the secrets."""
    return "".join(write_exports(secrets))


def check_docker(placement: Placement) -> None:
    """Refuse a machine without docker.

    Raises:
        LaunchError: The command `docker` is missing.
    """
    if shutil.which("docker") is None:
        raise LaunchError(
            f"Profile {placement.profile.name} runs stages with docker, which is not installed on this machine.",
            'Install docker, or use a profile with executor = "local".',
        )
