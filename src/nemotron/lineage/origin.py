"""Describe what made an artifact: the code, the command line, the job."""

import json
import os
import shlex
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nemotron
from nemotron.secrets import MASK, is_secret, mask_text

PACKAGE = Path(nemotron.__file__).resolve().parent
CODE_RECORD = "_code_version.json"
"""In the copy of the package that a job runs: what `describe_code` found on the submitting machine."""


@cache
def describe_code() -> dict[str, Any]:
    """Describe the running code, as it was when this process asked first.

    The result has `package`, and for a git checkout also `commit` and whether it is `modified`.
    """
    try:
        return json.loads((PACKAGE / CODE_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    try:
        found: dict[str, Any] = {"package": f"nemotron {version('nemotron')}"}
    except PackageNotFoundError:
        found = {"package": "nemotron"}
    # A package may be installed inside another project's checkout, which does not track it.
    if _git("ls-files", "--error-unmatch", "__init__.py") is not None and (commit := _git("rev-parse", "HEAD")):
        found |= {"commit": commit, "modified": bool(_git("status", "--porcelain", "--untracked-files=no", "."))}
    return found


def describe_command(arguments: list[str] | None = None) -> str:
    """Return this process's command line, ready to type again, with secrets masked.

    Args:
        arguments: The words; None takes `sys.argv`.
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


def describe_job() -> dict[str, str]:
    """Describe where this process runs: in a Slurm job, or directly on a machine."""
    host = socket.gethostname()
    if number := os.environ.get("SLURM_JOB_ID"):
        named = {"name": name} if (name := os.environ.get("SLURM_JOB_NAME")) else {}
        return {"kind": "slurm", "id": number, **named, "host": host}
    return {"kind": "local", "id": "local", "host": host}


def _git(*arguments: str) -> str | None:
    """Run git in the package's folder; None if it fails."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
