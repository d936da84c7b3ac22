"""Pass secrets to a job, in a file that only its owner reads.

They are never in a script, a plan or an argument.
"""

import os
import shlex
import tempfile
from collections.abc import Mapping
from typing import Any

from nemotron.errors import UserError
from nemotron.launch.profiles import Profile

HANDED_ON = (
    "HF_TOKEN",
    "WANDB_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""Variables that a job gets from the submitting environment when they are set there."""


def collect_secrets(profile: Profile, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Collect a job's secrets: the usual ones, the profile's own, those it names.

    Returns:
        Values by the variable's name.

    Raises:
        UserError: The profile names one that is not set.
    """
    if profile.is_passed_on:
        return {}
    for name in profile.secrets:
        if name not in environ:
            raise UserError(
                f"{profile.source}: profile {profile.name} hands on the secret {name}, which is not set.",
                f"Set it (export {name}=...), or take it out of secrets.",
            )
    named = {name: environ[name] for name in (*HANDED_ON, *profile.secrets) if name in environ}
    return named | profile.secret_env_vars


def put_secrets(tunnel: Any, path: str, secrets: Mapping[str, str]) -> None:
    """Write `secrets` through a tunnel as a shell file at `path`, mode 0600.

    The file is made empty with its mode first, and filled by a copy: the contents are part of no command line, and
    there is no moment at which others could read them.
    """
    folder, quoted = shlex.quote(os.path.dirname(path)), shlex.quote(path)
    tunnel.run(f"mkdir -p {folder} && ( umask 077 && : > {quoted} )", hide=True, in_stream=False)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as private:  # 0600 by itself
        private.writelines(write_exports(secrets))
        private.flush()
        tunnel.put(private.name, path)


def write_exports(secrets: Mapping[str, str]) -> list[str]:
    """Write the lines with which a shell exports secrets."""
    return [f"export {name}={shlex.quote(value)}\n" for name, value in secrets.items()]


def source_secrets(path: str) -> list[str]:
    """Write lines that read the file untraced, and remove it when the stage has ended.

    A job that was killed keeps it, because Slurm may run it again. `exitcode` is set by NeMo-Run's script.
    """
    quoted = shlex.quote(path)
    return [
        "{ set +vx; } 2>/dev/null",
        f". {quoted}",
        "set -vx",
        f"""trap '[ "${{exitcode:-255}}" -ge 128 ] || rm -f {quoted}' EXIT""",
    ]
