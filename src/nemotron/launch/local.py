"""Launch on this machine: in this process, or through torchrun."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nemotron.launch.stages import PACKAGE, TORCHRUN, TRAIN_SCRIPT


def local_processes(nproc_per_node: int | Literal["auto"]) -> int:
    """Count the processes that train here; always one inside a torchrun.

    `auto` means one per GPU, or one without a GPU.
    """
    if "LOCAL_RANK" in os.environ:
        return 1
    if nproc_per_node != "auto":
        return nproc_per_node
    import torch

    return max(1, torch.cuda.device_count())


def visible_gpus() -> int:
    """Count the GPUs that a process here would see, without importing torch."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([device for device in chosen.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def torchrun_command(arguments: Sequence[str], processes: int) -> list[str]:
    """Write the command that runs the training script in so many processes."""
    launcher = [sys.executable, str(PACKAGE / TORCHRUN), "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, str(PACKAGE / TRAIN_SCRIPT), *arguments]


def torchrun(arguments: Sequence[str], processes: int) -> int:
    """Run the training script in so many processes, and return its exit code.

    A SIGTERM to this process reaches the training processes, which save a checkpoint and end with success.
    """
    running = subprocess.Popen(torchrun_command(arguments, processes))
    before = signal.signal(signal.SIGTERM, lambda signum, frame: running.send_signal(signum))
    try:
        return running.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
