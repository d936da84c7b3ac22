"""Write the files of a job: its code, resolved config and launch script."""

import json
import shlex
import shutil
from pathlib import Path

import yaml

from nemotron.config import config_dir
from nemotron.errors import UserError
from nemotron.launch.placement import Placement
from nemotron.launch.stages import PACKAGE, RAY_NODE, STARTUP, TORCHRUN, Stage
from nemotron.lineage.origin import CODE_RECORD, describe_code

LAUNCH_SCRIPT = "launch.sh"


def write_package(folder: Path, placement: Placement) -> None:
    """Fill a new folder with everything that the job needs except its environment.

    The code is copied, so that a job that waits a day in the queue runs what was submitted, and the cluster does not
    need this checkout. The shipped configs go where an installed package has them.
    """
    if placement.carries_code:
        shutil.copytree(PACKAGE, folder / "nemotron", ignore=shutil.ignore_patterns("__pycache__", "_config"))
        shutil.copytree(config_dir(), folder / "nemotron" / "_config")
        # The copy is not a git checkout, and artifacts record the commit that made them.
        (folder / "nemotron" / CODE_RECORD).write_text(json.dumps(describe_code()))
    else:
        folder.mkdir(parents=True, exist_ok=True)
    _copy_wheels(folder, placement)
    config = dict(placement.stage.config)
    (folder / _config_file(placement.stage)).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    script = folder / LAUNCH_SCRIPT
    script.write_text(launch_script(placement))
    script.chmod(0o700)


def launch_script(placement: Placement) -> str:
    """Return the bash script that each node runs, which ends in the stage or torchrun.

    Environment variables are set here and not through the executor, because NeMo-Run exports `NAME.upper()=value`
    unquoted. Startup commands are here because NeMo-Run would run them on the first node only, outside the container.
    """
    lines = [
        "#!/usr/bin/env bash",
        f"# Stage {placement.stage.name}: what each node of the job runs.",
        "set -euo pipefail",
        'code=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)',
        *(f"export {name}={shell_word(value)}" for name, value in placement.variables.items()),
        f"mkdir -p -- {shell_word(placement.workdir)}",
        f"cd -- {shell_word(placement.workdir)}",
        *_rendezvous_lines(placement),
        *placement.profile.startup_commands,
        # After everything that may set it, so that this code is imported before any other package called nemotron.
        'export PYTHONPATH="$code${PYTHONPATH:+:$PYTHONPATH}"',
        *_startup_lines(placement),
        *(['export RAY_CLUSTER_DIR="$code/.."'] if placement.with_ray else []),
        # exec: Slurm's signals must reach the stage itself, which saves a checkpoint on SIGTERM.
        f"exec {launch_line(placement)}",
    ]
    return "\n".join(lines) + "\n"


_NODES = {
    "skypilot": [
        "export NODE_RANK=${SKYPILOT_NODE_RANK:-0} MASTER_PORT=29500",
        'export MASTER_ADDR=$(head -n 1 <<< "${SKYPILOT_NODE_IPS:-localhost}")',
    ],
    "lepton": ["export NODE_RANK=${NODE_RANK:-0}"],  # NeMo-Run sources a script that sets all three
    "dgxcloud": [
        "export NODE_RANK=${PET_NODE_RANK:-${RANK:-0}}",
        "export MASTER_ADDR=${PET_MASTER_ADDR:-${MASTER_ADDR:-localhost}}",
        "export MASTER_PORT=${PET_MASTER_PORT:-${MASTER_PORT:-29500}}",
    ],
}
_NODES |= {"skypilot_jobs": _NODES["skypilot"], "kubeflow": _NODES["dgxcloud"]}
"""How a node finds its rank and the first node's address; on Slurm, the batch script exports both."""


def _rendezvous_lines(placement: Placement) -> list[str]:
    return _NODES.get(placement.profile.executor, [])


def _node(placement: Placement) -> str:
    """Return the name of the variable with the node's rank."""
    return "NODE_RANK" if placement.profile.is_passed_on else "SLURM_NODEID"


def _startup_lines(placement: Placement) -> list[str]:
    """Return lines that find the interpreter, install packages and check them."""
    python, stage = shell_word(placement.python), placement.stage
    is_first = f'[ "${{{_node(placement)}:-0}}" = 0 ]'
    advice = f"set python of profile {placement.profile.name}, or a container_image"
    missing = f"The interpreter {placement.python} is not on this node: {advice}."
    lines = [f"command -v {python} > /dev/null || {{ echo {shell_word(f'error: {missing}')} >&2; exit 127; }}"]
    if placement.profile.install:
        wanted = " ".join(_to_install(text) for text in placement.profile.install)
        installs = "true" if placement.profile.executor.startswith("skypilot") else is_first
        lines += [
            # The first node installs into the job's folder, which all nodes share except on SkyPilot. A job that
            # Slurm restarts has the packages already.
            f'if {installs} && [ ! -e "$code/../installed" ]; then',
            f'    {python} -m pip install --quiet --target "$code/../site" {wanted}',
            '    touch "$code/../installed"',
            "fi",
            'until [ -e "$code/../installed" ]; do sleep 1; done',
            'export PYTHONPATH="$code:$code/../site:${PYTHONPATH#*:}"',
        ]
    if not placement.carries_code:
        found = f"{python} -c 'import nemotron; print(*nemotron.__path__)' 2> /dev/null"
        absent = f"{placement.python} has no nemotron, and {placement.profile.executor} sends none: use install."
        lines += [
            "# The code is the image's: this executor sends the job's folder on a command line.",
            f'[ -e "$code/nemotron" ] || ln -sn "$({found})" "$code/nemotron" || [ -e "$code/nemotron" ] ||',
            f"    {{ echo {shell_word(f'error: {absent}')} >&2; exit 1; }}",
        ]
    ray = " ray" if placement.with_ray else ""
    check = f'{python} "$code/nemotron/{STARTUP}" {stage.name}{ray}'
    return [*lines, f"if {is_first}; then {check}; fi"]


def _to_install(text: str) -> str:
    """Return a requirement for pip; a wheel from this machine is in the job's folder."""
    return f'"$code"/wheels/{shell_word(Path(text).name)}' if text.endswith(".whl") else shell_word(text)


def _copy_wheels(folder: Path, placement: Placement) -> None:
    for text in placement.profile.install:
        if text.endswith(".whl"):
            wheel = Path(text)
            if not wheel.is_file():
                raise UserError(
                    f"The wheel {text} does not exist.", f"Correct install of profile {placement.profile.name}."
                )
            (folder / "wheels").mkdir(exist_ok=True)
            shutil.copy(wheel, folder / "wheels" / wheel.name)


def shell_word(text: str) -> str:
    """Quote any text as one bash word on a single line."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(f"\\{c}" if c in "\\'" else c if c.isprintable() else _escape(c) for c in text)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def launch_line(placement: Placement) -> str:
    """Return the last command of `launch_script`; `$code` is the package's folder."""
    stage = placement.stage
    python = command = shell_word(placement.python)
    if placement.with_ray:
        command += f' "$code/nemotron/{RAY_NODE}" {python}'
    if stage.distributed:
        command += f' "$code/nemotron/{TORCHRUN}" --nproc-per-node={placement.processes}'
        if placement.nodes == 1:
            command += " --standalone"
        else:
            command += f" --nnodes={placement.nodes} --node-rank=${_node(placement)}"
            command += " --master-addr=$MASTER_ADDR --master-port=$MASTER_PORT"
    return f'{command} "$code/nemotron/{stage.script}" --config "$code"/{shell_word(_config_file(stage))}'


def _config_file(stage: Stage) -> str:
    return f"{stage.config_name}.yaml"
