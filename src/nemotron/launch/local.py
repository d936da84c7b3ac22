"""Launching on this machine without a profile: in this process, or one process per GPU through torchrun."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal

from nemotron.launch.stages import PACKAGE, TORCHRUN, TRAIN_SCRIPT


def local_processes(nproc_per_node: int | Literal["auto"]) -> int:
    """How many processes train here. `auto`: one per GPU, or one without; always one inside a torchrun."""
    if "LOCAL_RANK" in os.environ:
        return 1
    if nproc_per_node != "auto":
        return nproc_per_node
    import torch

    return max(1, torch.cuda.device_count())


def torchrun(arguments: Sequence[str], processes: int) -> int:
    """Run the training script with `arguments` (`--config tiny key=value`) in so many processes; its exit code.

    A SIGTERM to this process reaches the training processes, which save a checkpoint and end with success.
    """
    launcher = [sys.executable, str(PACKAGE / TORCHRUN), "--standalone", f"--nproc-per-node={processes}"]
    running = subprocess.Popen([*launcher, str(PACKAGE / TRAIN_SCRIPT), *arguments])
    before = signal.signal(signal.SIGTERM, lambda signum, frame: running.send_signal(signum))
    try:
        return running.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
