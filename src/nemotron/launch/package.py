"""The files of a job: the code as it is now, the resolved config, and the script that every node runs."""

import shlex
import shutil
import sys
from pathlib import Path

import yaml

from nemotron.config import config_dir
from nemotron.launch.profiles import Profile
from nemotron.launch.stages import PACKAGE, RAY_NODE, TORCHRUN, Stage

LAUNCH_SCRIPT = "launch.sh"


def write_package(folder: Path, stage: Stage, profile: Profile, workdir: str) -> None:
    """Fill the new `folder` with everything the job needs besides its environment.

    The code is copied, not referred to: a job that waits a day in the queue runs what was submitted, and the cluster
    need not see this checkout. The shipped configs go where an installed package has them.
    """
    shutil.copytree(PACKAGE, folder / "nemotron", ignore=shutil.ignore_patterns("__pycache__", "_config"))
    shutil.copytree(config_dir(), folder / "nemotron" / "_config")
    (folder / _config_file(stage)).write_text(yaml.safe_dump(dict(stage.config), sort_keys=False, allow_unicode=True))
    script = folder / LAUNCH_SCRIPT
    script.write_text(launch_script(stage, profile, workdir))
    script.chmod(0o755)


def launch_script(stage: Stage, profile: Profile, workdir: str) -> str:
    """The bash script that runs once per node and becomes the stage's process, or torchrun.

    Environment variables are set here and not through the executor: NeMo-Run exports `NAME.upper()=value` unquoted.
    Startup commands are here because NeMo-Run would run them on the first node only, outside the container.
    """
    lines = [
        "#!/usr/bin/env bash",
        f"# Stage {stage.name}: what each node of the job runs.",
        "set -euo pipefail",
        'code=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)',
        'export PYTHONPATH="$code${PYTHONPATH:+:$PYTHONPATH}"',
        *(f"export {name}={shlex.quote(value)}" for name, value in profile.env_vars.items()),
        f"mkdir -p -- {shlex.quote(workdir)}",
        f"cd -- {shlex.quote(workdir)}",
        *profile.startup_commands,
        *(['export RAY_CLUSTER_DIR="$code/.."'] if _has_ray(stage, profile) else []),
        # exec: Slurm's signals must reach the stage itself, which saves a checkpoint on SIGTERM.
        f"exec {launch_line(stage, profile)}",
    ]
    return "\n".join(lines) + "\n"


def launch_line(stage: Stage, profile: Profile) -> str:
    """The command that `launch_script` ends in. `$code` is the folder of the package."""
    python = command = shlex.quote(interpreter(stage, profile))
    if _has_ray(stage, profile):
        command += f' "$code/nemotron/{RAY_NODE}" {python}'
    if stage.distributed:
        processes = stage.processes_per_node or profile.processes_per_node
        command += f' "$code/nemotron/{TORCHRUN}" --nproc-per-node={processes}'
        if nodes(stage, profile) == 1:
            command += " --standalone"
        else:
            command += f" --nnodes={nodes(stage, profile)} --node-rank=$SLURM_NODEID"
            command += " --master-addr=$MASTER_ADDR --master-port=$MASTER_PORT"
    return f'{command} "$code/nemotron/{stage.script}" --config "$code"/{shlex.quote(_config_file(stage))}'


def _config_file(stage: Stage) -> str:
    return f"{stage.config_name}.yaml"


def nodes(stage: Stage, profile: Profile) -> int:
    """How many nodes the stage runs on."""
    return profile.nodes if (stage.distributed or stage.ray) and profile.executor == "slurm" else 1


def _has_ray(stage: Stage, profile: Profile) -> bool:
    """Whether the job brings its own Ray cluster; without Slurm, Ray starts one on this machine by itself."""
    return stage.ray and profile.executor == "slurm"


def container_image(stage: Stage, profile: Profile) -> str | None:
    """The image the stage runs in: the profile's, else the config's. None: no container."""
    if profile.executor == "local":
        return None
    image = profile.container_image or stage.container
    return None if image == "none" else image


def interpreter(stage: Stage, profile: Profile) -> str:
    """The Python that runs the stage: the one running now where the job sees the same file system."""
    if profile.python:
        return profile.python
    elsewhere = profile.tunnel == "ssh" or container_image(stage, profile)
    return "python" if elsewhere else sys.executable
