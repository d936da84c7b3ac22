"""The files of a job: the code as it is now, the resolved config, and the script that every node runs."""

import shlex
import shutil
from pathlib import Path

import yaml

from nemotron.config import config_dir
from nemotron.launch.placement import Placement
from nemotron.launch.stages import PACKAGE, RAY_NODE, TORCHRUN, Stage

LAUNCH_SCRIPT = "launch.sh"


def write_package(folder: Path, placement: Placement) -> None:
    """Fill the new `folder` with everything the job needs besides its environment.

    The code is copied, not referred to: a job that waits a day in the queue runs what was submitted, and the cluster
    need not see this checkout. The shipped configs go where an installed package has them.
    """
    shutil.copytree(PACKAGE, folder / "nemotron", ignore=shutil.ignore_patterns("__pycache__", "_config"))
    shutil.copytree(config_dir(), folder / "nemotron" / "_config")
    config = dict(placement.stage.config)
    (folder / _config_file(placement.stage)).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    script = folder / LAUNCH_SCRIPT
    script.write_text(launch_script(placement))
    script.chmod(0o700)


def launch_script(placement: Placement) -> str:
    """The bash script that runs once per node and becomes the stage's process, or torchrun.

    Environment variables are set here and not through the executor: NeMo-Run exports `NAME.upper()=value` unquoted.
    Startup commands are here because NeMo-Run would run them on the first node only, outside the container.
    """
    lines = [
        "#!/usr/bin/env bash",
        f"# Stage {placement.stage.name}: what each node of the job runs.",
        "set -euo pipefail",
        'code=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)',
        *(f"export {name}={shell_word(value)}" for name, value in placement.variables.items()),
        f"mkdir -p -- {shell_word(placement.workdir)}",
        f"cd -- {shell_word(placement.workdir)}",
        *placement.profile.startup_commands,
        # After all that may set it: this code comes before whatever else is called nemotron.
        'export PYTHONPATH="$code${PYTHONPATH:+:$PYTHONPATH}"',
        *(['export RAY_CLUSTER_DIR="$code/.."'] if placement.with_ray else []),
        # exec: Slurm's signals must reach the stage itself, which saves a checkpoint on SIGTERM.
        f"exec {launch_line(placement)}",
    ]
    return "\n".join(lines) + "\n"


def shell_word(text: str) -> str:
    """Quote a text for bash on one line, whatever is in it."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(f"\\{c}" if c in "\\'" else c if c.isprintable() else _escape(c) for c in text)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def launch_line(placement: Placement) -> str:
    """Write the command that `launch_script` ends in. `$code` is the folder of the package."""
    stage = placement.stage
    python = command = shell_word(placement.python)
    if placement.with_ray:
        command += f' "$code/nemotron/{RAY_NODE}" {python}'
    if stage.distributed:
        command += f' "$code/nemotron/{TORCHRUN}" --nproc-per-node={placement.processes}'
        if placement.nodes == 1:
            command += " --standalone"
        else:
            command += f" --nnodes={placement.nodes} --node-rank=$SLURM_NODEID"
            command += " --master-addr=$MASTER_ADDR --master-port=$MASTER_PORT"
    return f'{command} "$code/nemotron/{stage.script}" --config "$code"/{shell_word(_config_file(stage))}'


def _config_file(stage: Stage) -> str:
    return f"{stage.config_name}.yaml"
