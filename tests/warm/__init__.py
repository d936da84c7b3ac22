"""A Python that has imported Megatron already, for commands that train the tiny model for some steps.

Importing takes four fifths of such a command. So one process imports Megatron (server.py), and is forked for each
command; a fork has touched nothing, whatever ran before it. `warm_python()` is a program to start in place of
`sys.executable` (client.py): the module behind `-m`, or the script, runs in a fork, with the files, the folder and the
environment of the program, which passes signals on and ends as the fork does. What a command itself starts, such as
torchrun's ranks or an export, is a usual Python. (The tests of exactness fork ranks of their own: launch.py there.)

That modules are there before a command asks for them is a difference, and its log lacks what imports print. So
tests/training/test_tiny_run.py starts from nothing, as users do, and so do the tests of documentation and Slurm.
"""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def _start() -> tuple[Path, "subprocess.Popen[bytes]"]:
    """Start the process that imports Megatron; it ends with this one, whose end of the pipe then closes."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    program = folder / "python"
    client = f"{sys.executable} -SE {Path(__file__).with_name('client.py')} {folder}/socket"
    program.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    program.chmod(0o755)
    server = [sys.executable, "-W", "ignore", "-m", "tests.warm.server", str(program)]
    return program, subprocess.Popen(server, cwd=ROOT, stdin=subprocess.PIPE)


def warm_python() -> str:
    """Return the program to start in place of `sys.executable`."""
    program, server = _start()
    assert server.poll() is None, "the process that imports Megatron has ended"
    return str(program)


def nemotron(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would, from any folder; `variables` are added to the environment."""
    command = [warm_python(), "-m", "nemotron", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False)
