"""Read what a Hugging Face folder has from its index or file headers.

No weights are loaded.
"""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import UserError, first_line
from nemotron.files.regular_files import open_file, read_text
from nemotron.files.typed import typed

INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
"""The file that makes a folder one of adapters for peft."""
NAMED_TEMPLATES = "additional_chat_templates"
"""The folder of a tokenizer's further templates."""
_MOST_NAMED = 6
_SIZES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
"""Bytes of a number of each type of safetensors that has whole bytes; rarer types are left to the library."""


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
        where = _read_index(index)
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
    return {name for file in files for name in _header(file)}


@dataclass(frozen=True)
class _Index:
    weight_map: dict[str, str]


def _read_index(file: Path) -> dict[str, str]:
    """Read in which file each weight is."""
    try:
        return typed(_Index, json.loads(read_text(file)), ignores_unknown=True).weight_map
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not readable as an index: {first_line(error)}.", "Download it again.") from None


def _header(file: Path) -> dict[str, object]:
    """Read the header of a safetensors file: a description of each tensor.

    The file begins with the length of the header, followed by the header as JSON.
    """
    try:
        with open_file(file) as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
            header.pop("__metadata__", None)
            ends = [_end_of(name, tensor) for name, tensor in header.items()]
            wanted, size = 8 + length + max(ends, default=0), opened.seek(0, io.SEEK_END)
    except (ValueError, OverflowError, MemoryError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not readable as safetensors: {first_line(error)}.", "Download it again.") from None
    if size != wanted:
        raise UserError(f"{file} has {size:,} bytes, and its header describes {wanted:,}.", "Download it again.")
    return header


def _end_of(name: str, tensor: dict[str, Any]) -> int:
    """Return where a tensor ends in the data.

    Raises:
        ValueError: Its shape and type need more or fewer bytes than it has.
    """
    begin, end = tensor["data_offsets"]
    size, shape = _SIZES.get(tensor["dtype"]), tensor["shape"]
    if size is not None and size * math.prod(shape) != end - begin:
        raise ValueError(f"{name} has {end - begin:,} bytes, which {tensor['dtype']} {shape} is not")
    return end


def list_few(names: list[str]) -> str:
    """List the first names and count the rest, for a message."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def check_replaceable(target: Path, config: str) -> None:
    """Refuse a folder with anything but an earlier export.

    An export has weights, a file named `config`, and no folder except additional chat templates.

    Raises:
        UserError: The folder has anything else, or is a file.
    """
    found = list(target.iterdir()) if target.is_dir() else [target] if target.exists() else []
    names = {path.name for path in found}
    is_export = all(path.is_file() or path.name == NAMED_TEMPLATES for path in found) and config in names
    if found and not (is_export and any(name.endswith(".safetensors") for name in names)):
        raise UserError(
            f"{target} is not empty and not an earlier export, and exporting would replace all of it.",
            "Name a new or empty folder.",
        )
