"""Read what a Hugging Face folder has from its index or file headers.

No weights are loaded.
"""

import io
import json
from pathlib import Path

from nemotron.errors import UserError, first_line
from nemotron.records.regular_files import open_file, read_text

INDEX = "model.safetensors.index.json"
_MOST_NAMED = 6


def is_hf_folder(path: Path) -> bool:
    """Tell whether a path is a Hugging Face model rather than a Megatron checkpoint."""
    return (path / "config.json").is_file()


def weight_names(folder: Path) -> set[str]:
    """Read the names of all weights in the safetensors of a folder.

    Raises:
        UserError: There are none, or a file is missing or unreadable.
    """
    index = folder / INDEX
    if index.is_file():
        where: dict[str, str] = json.loads(read_text(index))["weight_map"]
        absent = sorted({file for file in where.values() if not (folder / file).is_file()})
        if absent:
            raise UserError(
                f"{folder} is not complete: {INDEX} lists {list_few(absent)}, which {_are(absent)} missing.",
                "Download it again: hf download MODEL --local-dir FOLDER",
            )
        return set(where)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{folder} has a config.json but no *.safetensors to take weights from.",
            "Download them too: hf download MODEL --local-dir FOLDER",
        )
    return {name for file in files for name in _header(file) if name != "__metadata__"}


def _header(file: Path) -> dict[str, object]:
    """Read the header of a safetensors file: a description of each tensor.

    The file begins with the length of the header, followed by the header as JSON.
    """
    try:
        with open_file(file) as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            wanted, size = 8 + length + max(ends, default=0), opened.seek(0, io.SEEK_END)
    except (ValueError, OverflowError, MemoryError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not readable as safetensors: {first_line(error)}.", "Download it again.") from None
    if size != wanted:
        raise UserError(f"{file} has {size:,} bytes, and its header describes {wanted:,}.", "Download it again.")
    return header


def list_few(names: list[str]) -> str:
    """List the first names and count the rest, for a message."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
