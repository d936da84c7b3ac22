"""Run torchrun, leaving SIGTERM to the ranks: python torchrun.py [OPTION ...] SCRIPT [ARGUMENT ...]

Options, output and exit code are torchrun's. When torchrun itself gets a SIGTERM it passes it on, kills the ranks after
30 seconds and reports a failure; but a rank that trains saves a checkpoint first, which may take longer, and then ends
with success. So here torchrun ignores the signal, and this process hands it to the ranks. Slurm signals every process
of a job step by itself, these three kinds among them: a rank that gets it twice saves once.

A rank begins with SIGTERM ignored, as torchrun is, and has to set its own handler: see train.py.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

HANDLED = "SIGINT,SIGHUP,SIGQUIT"
"""What torchrun goes on to handle: all that it would, but for SIGTERM."""
POLL_SECONDS = 0.5


def main(arguments: list[str]) -> int:
    """Run torchrun, and return its exit code."""
    # The default of its option --signals-to-handle, and what that option sets, for releases that have only this.
    environment = {**os.environ, "PET_SIGNALS_TO_HANDLE": HANDLED, "TORCHELASTIC_SIGNALS_TO_HANDLE": HANDLED}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited
    torchrun = subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *arguments], env=environment)
    started = False

    def forward(signum: int, frame: object) -> None:
        ranks = children(torchrun.pid)
        for rank in ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank, signum)
        if not ranks and not started:
            torchrun.send_signal(signal.SIGINT)  # nothing has begun that could be saved

    signal.signal(signal.SIGTERM, forward)
    while True:
        started = started or bool(children(torchrun.pid))
        # Ctrl-C reaches torchrun by itself, which ends the ranks.
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            returned = torchrun.wait(POLL_SECONDS)
            return returned if returned >= 0 else 128 - returned


def children(process: int) -> list[int]:
    """List the processes that the main thread of `process` started; Linux only."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in listed.split()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
