"""Distinguish chat data from a blend file."""

import os
import re
from pathlib import Path

import orjson

from nemotron.data_prep.config import SPLITS
from nemotron.data_prep.sources.input_file import BOOKKEEPING, format_of, leave_out_bookkeeping
from nemotron.errors import UserError
from nemotron.files.paths import find_matches
from nemotron.files.regular_files import open_file

HEAD_BYTES = 2**20
"""How much of a file is read to distinguish rows from a list of datasets; a blend file is smaller."""
BLEND_KEYS = frozenset({"datasets", *SPLITS})
_ROW_FIELD = re.compile(rb'"(messages|conversations|prompt|instruction)"\s*:')


def is_chat_data(path: Path) -> bool:
    """Tell whether a local path is chat data.

    That is a data file, a folder with data files, or a glob that matches some. A `.json` file is a blend file unless it
    has rows: an array, or an object per line.

    Raises:
        UserError: A folder has both data files and a blend file, so either may be meant.
    """
    if path.is_file():
        return format_of(path.name) is not None and not is_blend_file(path)
    if path.is_dir():
        return _folder_has_data(path)
    return any(format_of(name) for name in find_matches(str(path)))


def is_blend_file(path: Path) -> bool:
    """Tell whether a `.json` file lists datasets, or at least has no rows."""
    if not path.name.lower().endswith(".json"):
        return False
    with open_file(path) as file:
        head = file.read(HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"["):
        return _has_paths(_parse(head))
    first = _parse(head.split(b"\n", 1)[0])
    content = first if isinstance(first, dict) else _parse(head)
    if isinstance(content, dict):
        return _lists_datasets(content)
    return not _ROW_FIELD.search(head)


def _folder_has_data(folder: Path) -> bool:
    if (folder / BOOKKEEPING[-1]).is_file():
        return True  # reading it will ask for a split
    with os.scandir(folder) as entries:
        names = [entry.path for entry in entries if format_of(entry.name) is not None and entry.is_file()]
    files = sorted(leave_out_bookkeeping(names))
    blends = [Path(file) for file in files if file.lower().endswith(".json") and is_blend_file(Path(file))]
    if blends and len(blends) < len(files):
        raise UserError(
            f"The folder {folder} has data files and what may be a blend file, {blends[0].name}.",
            f"Give {blends[0]} for the blend, or a glob such as {folder}/*{Path(files[0]).suffix} for the data.",
        )
    return bool(files) and not blends


def _lists_datasets(content: dict[str, object]) -> bool:
    """Tell whether an object is meant as a blend, perhaps a broken one.

    A row may have a field `train` too.
    """
    keys = [key for key in content if not key.startswith("_")]
    return BLEND_KEYS.issuperset(keys) or any(
        (key in BLEND_KEYS and isinstance(content[key], list)) or (content[key] and _has_paths(content[key]))
        for key in keys
    )


def _has_paths(value: object) -> bool:
    """Tell whether a value is a list of datasets, which alone is a broken blend."""
    return isinstance(value, list) and all(isinstance(entry, dict) and "path" in entry for entry in value)


def _parse(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
