"""Run torchrun, leaving SIGTERM and Ctrl-C to the ranks.

python torchrun.py [OPTION ...] SCRIPT [ARGUMENT ...]

Options, output and exit code are torchrun's, except for STOPPED, if the first rank says that it stopped with work left,
TERMINATED, if SIGTERM came before the first iteration, and INTERRUPTED (see exit_codes.py). torchrun itself would pass
a signal on, kill the ranks after 30 seconds and report a failure. But a training rank saves a checkpoint first, which
may take longer, and then ends successfully. So torchrun ignores both signals here, and this process sends SIGTERM to
the ranks. Slurm signals every process of a job step, all of these included; a rank that gets SIGTERM twice saves once.
A second Ctrl-C kills the ranks.

A rank starts with both signals ignored, like torchrun, and has to set its own handlers: see train.py.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from nemotron.exit_codes import BEGUN, INTERRUPTED, STOPPED, STOPPED_MARK, TERMINATED

HANDLED = "SIGHUP,SIGQUIT"
"""The signals that torchrun still handles: its usual ones without SIGTERM and SIGINT."""
POLL_SECONDS = 0.5


def main(arguments: list[str]) -> int:
    """Run torchrun, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="nemotron-") as folder:
        mark = Path(folder, "stopped")
        environment = {
            **os.environ,
            STOPPED_MARK: str(mark),
            # The default of the option --signals-to-handle; releases without the option read only this variable.
            "PET_SIGNALS_TO_HANDLE": HANDLED,
            "TORCHELASTIC_SIGNALS_TO_HANDLE": HANDLED,
        }
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)  # inherited
        run = Run(subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *arguments], env=environment))
        returned = run.wait()
        if returned and run.is_terminated and not Path(f"{mark}{BEGUN}").exists():
            return TERMINATED
        return STOPPED if returned == 0 and mark.exists() else returned


class Run:
    """A torchrun process, and the signals that arrive while it runs."""

    def __init__(self, torchrun: "subprocess.Popen[bytes]") -> None:
        self._torchrun = torchrun
        self._has_ranks = False
        """Whether ranks have been seen; before that there is nothing to save."""
        self._interrupts = 0
        self.is_terminated = False
        """Whether SIGTERM has arrived."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, self._interrupt)

    def wait(self) -> int:
        """Wait until torchrun ends, and return the exit code."""
        while True:
            self._has_ranks = self._has_ranks or bool(list_children(self._torchrun.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                returned = self._torchrun.wait(POLL_SECONDS)
                if returned and self._interrupts:
                    return INTERRUPTED
                return returned if returned >= 0 else 128 - returned

    def _on_sigterm(self, signum: int, frame: object) -> None:
        self.is_terminated = True
        self._terminate()

    def _terminate(self) -> None:
        ranks = list_children(self._torchrun.pid)
        for rank in ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank, signal.SIGTERM)
        if not ranks and not self._has_ranks:
            self._torchrun.send_signal(signal.SIGHUP)

    def _interrupt(self, signum: int, frame: object) -> None:
        self._interrupts += 1
        ranks = list_children(self._torchrun.pid)
        if self._interrupts == 1:
            if ranks:
                said = "Ctrl-C: asked the training processes to save and stop; press again to quit now."
                print(said, file=sys.stderr, flush=True)
            self._terminate()
            return
        self._torchrun.kill()  # first, because it would report every rank as a failure
        for rank in ranks:
            with contextlib.suppress(OSError):
                os.killpg(rank, signal.SIGKILL)  # torchrun starts each rank in its own session


def list_children(process: int) -> list[int]:
    """List the processes that the main thread of `process` started; Linux only."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in listed.split()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
