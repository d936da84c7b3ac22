"""By what something was made: the code, the command line, the job."""

import json
import os
import shlex
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nemotron
from nemotron.secrets import MASK, is_secret, mask_text

PACKAGE = Path(nemotron.__file__).resolve().parent
CODE_RECORD = "_code_version.json"
"""Inside a copy of the package that travels with a job: what `code_version` found where it was submitted."""


def code_version() -> dict[str, Any]:
    """Say which code runs.

    `package`, and for a git checkout its `commit` and whether it was `modified`.
    """
    try:
        return json.loads((PACKAGE / CODE_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    try:
        found: dict[str, Any] = {"package": f"nemotron {version('nemotron')}"}
    except PackageNotFoundError:
        found = {"package": "nemotron"}
    # A package that is installed below somebody else's checkout is not tracked there.
    if _git("ls-files", "--error-unmatch", "__init__.py") is not None and (commit := _git("rev-parse", "HEAD")):
        found |= {"commit": commit, "modified": bool(_git("status", "--porcelain", "--untracked-files=no", "."))}
    return found


def command_line(arguments: list[str] | None = None) -> str:
    """Write this process's command line as it could be typed again, secrets masked.

    Args:
        arguments: the words; None takes `sys.argv`.
    """
    program, *words = sys.argv if arguments is None else arguments
    path = Path(program)
    name = "nemotron" if path.name in ("nemotron", "__main__.py") else path.name
    return shlex.join([name, *mask_arguments(words)])


def mask_arguments(words: list[str]) -> list[str]:
    """Mask `key=secret` and credentials in the words of a command line."""
    masked = []
    for word in words:
        key, equals, value = word.partition("=")
        masked.append(f"{key}={MASK}" if equals and value and is_secret(key.lstrip("-+")) else mask_text(word))
    return masked


def job() -> dict[str, str]:
    """Say where this process runs: as a Slurm job, or just on a machine."""
    host = socket.gethostname()
    if number := os.environ.get("SLURM_JOB_ID"):
        named = {"name": name} if (name := os.environ.get("SLURM_JOB_NAME")) else {}
        return {"kind": "slurm", "id": number, **named, "host": host}
    return {"kind": "local", "id": "local", "host": host}


def _git(*arguments: str) -> str | None:
    """Ask git about the package's folder; None where it has no answer."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
