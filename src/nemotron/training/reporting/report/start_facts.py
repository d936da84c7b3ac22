"""What history.jsonl says of a start.

That is what a report cannot read off the run's other files.
"""

import os
import socket
from collections.abc import Sequence
from typing import Any

from nemotron.config import Loaded
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData

_DEFAULTS = ("default", "config/default.yaml:")
"""How origins begin that are no change of the user's."""


def describe_start(loaded: Loaded[SftConfig], plan: Plan, data: PreparedData, notes: Sequence[str]) -> dict[str, Any]:
    """Collect the facts of a start, as JSON values.

    Args:
        loaded: The config, with where each value came from.
        plan: What the run will do.
        data: The packs.
        notes: What a user should know of this start, a line each.
    """
    return {
        "name": loaded.name,
        "train_iters": plan.train_iters,
        "global_batch_size": plan.global_batch_size,
        "pack_size": plan.pack_size,
        "data": {"reference": data.reference, "splits": str(data.splits), "packs": data.packs},
        "machine": describe_machine(),
        "flops_per_token": plan.flops_per_token,
        "adapters_only": loaded.config.peft is not None,
        "origins": {key: origin for key, origin in loaded.origins.items() if not origin.startswith(_DEFAULTS)},
        "notes": [*notes],
    }


def describe_machine() -> dict[str, Any]:
    """Describe what this run computes on.

    Under `gpus` (None on a CPU), `device` (its name) and `describe` (both in words).
    """
    import torch

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if not torch.cuda.is_available():
        described = f"{ranks:,} {'process' if ranks == 1 else 'processes'} on the CPU, {socket.gethostname()}"
        return {"gpus": None, "device": "CPU", "describe": described}
    device = torch.cuda.get_device_name()
    return {"gpus": ranks, "device": device, "describe": f"{ranks:,} x {device}, first on {socket.gethostname()}"}
