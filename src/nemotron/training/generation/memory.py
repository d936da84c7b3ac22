"""Compare the memory of this machine with what a model needs."""

from pathlib import Path

from nemotron.errors import UserError
from nemotron.training.parallelism.model_shape import KNOWN_SHAPES, read_model_config, shape_of

_BYTES = 2
"""Bytes of a bfloat16 number."""


def refuse_export_beyond_memory(checkpoint: Path, model: str) -> None:
    """Refuse to export a model whose weights do not fit into memory once.

    A model of unknown size is not refused.

    Args:
        checkpoint: The checkpoint to export.
        model: The Hugging Face id or folder that describes it.

    Raises:
        UserError: The weights do not fit.
    """
    described, _ = read_model_config(model)
    try:
        shape = KNOWN_SHAPES.get(model) if described is None else shape_of(described)
    except KeyError:
        return
    if shape is None:
        return
    needed, free = _BYTES * (shape.dense_parameters + shape.expert_parameters), free_memory()
    if needed > free:
        raise UserError(
            f"{checkpoint} has to be exported first, and its weights need {needed:,} bytes of memory "
            f"({needed / 2**30:,.1f} GiB), but {free / 2**30:,.1f} GiB are free.",
            f"On a machine with enough memory: nemotron super3 model export {checkpoint} -o DIR. Then chat with DIR.",
        )


def free_memory() -> int:
    """Return the bytes that this process may still allocate.

    The limit is that of the machine or of its control group.
    """
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    lines = dict(line.split(":") for line in meminfo.splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        group = Path("/sys/fs/cgroup")
        most, used = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        kept = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return min(free, most - used + int(kept["inactive_file"]))  # the cache of files can be freed
    except (OSError, ValueError, KeyError):  # no control group, or one without a limit
        return free
