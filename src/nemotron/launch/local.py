"""Launch on this machine: in this process, or through torchrun."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from nemotron.launch.stages import PACKAGE, TORCHRUN, TRAIN_SCRIPT


def count_processes(nproc_per_node: int | Literal["auto"]) -> int:
    """Return the number of training processes to start; one inside torchrun.

    `auto` means one per GPU, or one without a GPU.
    """
    if "LOCAL_RANK" in os.environ:
        return 1
    if nproc_per_node != "auto":
        return nproc_per_node
    import torch

    return max(1, torch.cuda.device_count())


def count_gpus() -> int:
    """Count the GPUs that a process here would see, without importing torch."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([device for device in chosen.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def torchrun_command(arguments: Sequence[str], processes: int) -> list[str]:
    """Return the command that runs the training script in several processes."""
    launcher = [sys.executable, str(PACKAGE / TORCHRUN), "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, str(PACKAGE / TRAIN_SCRIPT), *arguments]


def torchrun(arguments: Sequence[str], processes: int) -> int:
    """Run the training script in several processes, and return the exit code.

    exit_codes.py lists the codes.
    """
    return run_to_end(torchrun_command(arguments, processes))


def run_to_end(command: Sequence[str], environment: Mapping[str, str] | None = None, given: str | None = None) -> int:
    """Run a command that may save its work when it is asked to stop.

    SIGTERM, SIGHUP and Ctrl-C are passed on to the command, which is waited for however long it takes. It has its own
    process group, so that each signal reaches it once, whether it comes from a terminal or from `kill`.

    Args:
        command: What to run.
        environment: Its variables; None takes those of this process.
        given: Its standard input; None takes that of this process.

    Returns:
        The exit code, or 128 + the signal that ended the command.
    """
    running: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(signum: int, frame: object) -> None:
        if running is None:  # it is being started
            early.append(signum)
        else:
            running.send_signal(signum)

    kept = {}
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(signum) is signal.SIG_IGN:
            continue  # as under nohup
        kept[signum] = signal.signal(signum, pass_on)
    try:
        stdin = None if given is None else subprocess.PIPE
        running = subprocess.Popen(command, env=environment, process_group=0, stdin=stdin)
        for signum in early:
            running.send_signal(signum)
        if running.stdin is not None:
            with contextlib.suppress(BrokenPipeError), running.stdin:
                running.stdin.write(str(given).encode())
        code = running.wait()
    finally:
        for signum, handler in kept.items():
            signal.signal(signum, handler)
    return 128 - code if code < 0 else code
