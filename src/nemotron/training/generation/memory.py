"""Memory of this machine, and what a model takes of it."""

from pathlib import Path

from nemotron.errors import UserError
from nemotron.training.checkpoints.hf_folder import model_config
from nemotron.training.parallelism.model_shape import KNOWN_SHAPES, shape_of

_BYTES = 2
"""Of a number in bfloat16."""


def refuse_export_beyond_memory(checkpoint: Path, model: str) -> None:
    """Refuse to export a model whose weights do not fit here; they are held once.

    A model that is neither here nor known by name is let through.

    Args:
        checkpoint: What would be exported.
        model: The Hugging Face id or folder that describes it.

    Raises:
        UserError: They do not fit.
    """
    described = model_config(model)
    try:
        shape = KNOWN_SHAPES.get(model) if described is None else shape_of(described)
    except KeyError:
        return
    if shape is None:
        return
    needed, free = _BYTES * (shape.dense_parameters + shape.expert_parameters), free_memory()
    if needed > free:
        raise UserError(
            f"{checkpoint} is to be exported first, and its weights take {needed:,} bytes of memory "
            f"({needed / 2**30:,.1f} GiB). Free are {free / 2**30:,.1f} GiB here.",
            f"Where there is as much: nemotron super3 model export {checkpoint} -o DIR. Then chat with DIR.",
        )


def free_memory() -> int:
    """Return the bytes that this process may still take.

    The machine's, or its control group's.
    """
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    lines = dict(line.split(":", 1) for line in meminfo.splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        group = Path("/sys/fs/cgroup")
        most, used = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        kept = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return min(free, most - used + int(kept["inactive_file"]))  # files in the cache make room
    except (OSError, ValueError, KeyError):  # no control group, or one without a limit
        return free
