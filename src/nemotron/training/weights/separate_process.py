"""Run a module of this package in a separate process, with its own Megatron state."""

import subprocess
import sys
from collections.abc import Sequence

from nemotron.errors import UserError


def run_module(module: str, arguments: Sequence[str], what: str) -> None:
    """Run `python -m module arguments`, and wait for it.

    The module must not read variables of a launcher (RANK, WORLD_SIZE), which the process inherits.

    Args:
        module: The module's full name.
        arguments: Its command-line arguments.
        what: The subject of the error, such as "Exporting /checkpoint".

    Raises:
        UserError: The module failed; the message has the end of its output.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise UserError(
            f"{what} failed.\n{tail}",
            f"Its input is intact. To see its whole output, run: {' '.join(['python', *command[1:]])}",
        )
