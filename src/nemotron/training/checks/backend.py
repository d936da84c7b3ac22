"""Refuse a backend that this machine cannot give, and what none but the production stack can do."""

from collections.abc import Iterator

from nemotron.errors import Problem
from nemotron.training.backend import chosen_backend, missing_packages
from nemotron.training.config import SftConfig


def check_backend(config: SftConfig, gpu: bool) -> Iterator[Problem]:
    """Yield a problem when `run.backend` finds no GPU or no kernels, or context parallelism would lack them.

    Args:
        gpu: whether this machine has a GPU.
    """
    backend = config.run.backend
    if (config.model.get("context_parallel_size") or 1) > 1 and (layers := chosen_backend(config, gpu)) != "production":
        yield Problem(
            f"model.context_parallel_size={config.model['context_parallel_size']} takes Transformer Engine's "
            f"attention, which run.backend={layers} does not have.",
            "Leave it at 1, or train in the NeMo container.",
        )
    if backend in ("auto", "cpu"):
        return
    if not gpu:
        yield Problem(
            f"run.backend={backend} computes on a GPU, and there is none here.",
            "Use run.backend=cpu, or run.backend=auto, which takes what there is.",
        )
    elif backend == "production" and (missing := missing_packages()):
        yield Problem(
            f"run.backend=production needs {' and '.join(missing)}, not installed here.",
            "Train in the NeMo container, which has them, or use run.backend=torch: the same layers in plain torch.",
        )
