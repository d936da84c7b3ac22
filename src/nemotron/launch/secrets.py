"""Pass secrets to a job, in a file that only its owner can read.

Secrets are never in a script, a plan or an argument.
"""

import os
import shlex
import tempfile
from collections.abc import Mapping
from typing import Any

from nemotron.errors import UserError
from nemotron.launch.profiles.profile import Profile

HANDED_ON = (
    "HF_TOKEN",
    "WANDB_API_KEY",
    "COMET_API_KEY",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""Variables that are passed to a job if they are set in the submitting environment."""


def collect_secrets(profile: Profile, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Collect a job's secrets: the usual ones, the profile's own, and those it lists.

    Returns:
        Values by the name of the variable.

    Raises:
        UserError: The profile lists a variable that is not set.
    """
    if profile.is_passed_on:
        return {}
    for name in profile.secrets:
        if name not in environ:
            raise UserError(
                f"{profile.source}: profile {profile.name} lists the secret {name}, which is not set.",
                f"Set it (export {name}=...), or remove it from secrets.",
            )
    named = {name: environ[name] for name in (*HANDED_ON, *profile.secrets) if name in environ}
    return named | profile.secret_env_vars


def put_secrets(tunnel: Any, path: str, secrets: Mapping[str, str]) -> None:
    """Write secrets through a tunnel to a shell file at `path`, mode 0600.

    An empty file is created with its mode first, and then filled by a copy. So the contents are never on a command
    line, and at no time can others read them.
    """
    folder, quoted = shlex.quote(os.path.dirname(path)), shlex.quote(path)
    tunnel.run(f"mkdir -p {folder} && ( umask 077 && : > {quoted} )", hide=True, in_stream=False)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as private:  # 0600 by itself
        private.writelines(write_exports(secrets))
        private.flush()
        tunnel.put(private.name, path)


def write_exports(secrets: Mapping[str, str]) -> list[str]:
    """Return the lines with which a shell exports secrets."""
    return [f"export {name}={shlex.quote(value)}\n" for name, value in secrets.items()]


def source_secrets(path: str) -> list[str]:
    """Return lines that read the file without tracing, and remove it after the stage.

    The file of a killed job is kept, because Slurm may run the job again. NeMo-Run's script sets `exitcode`.
    """
    quoted = shlex.quote(path)
    return [
        "{ set +vx; } 2>/dev/null",
        f". {quoted}",
        "set -vx",
        f"""trap '[ "${{exitcode:-255}}" -ge 128 ] || rm -f {quoted}' EXIT""",
    ]
