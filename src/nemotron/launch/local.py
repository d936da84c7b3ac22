"""Launching on this machine without a profile: in this process, or one process per GPU through torchrun."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal

from nemotron.launch.stages import PACKAGE, TRAIN_SCRIPT


def local_processes(nproc_per_node: int | Literal["auto"]) -> int:
    """How many processes train here. `auto`: one per GPU, or one without; always one inside a torchrun."""
    if "LOCAL_RANK" in os.environ:
        return 1
    if nproc_per_node != "auto":
        return nproc_per_node
    import torch

    return max(1, torch.cuda.device_count())


def torchrun(arguments: Sequence[str], processes: int) -> int:
    """Run the training script with `arguments` (`--config tiny key=value`) in so many processes; its exit code."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run([*launcher, str(PACKAGE / TRAIN_SCRIPT), *arguments], check=False).returncode
