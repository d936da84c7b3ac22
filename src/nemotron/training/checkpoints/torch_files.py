"""Read files of torch without torch: whether they are complete, and a few numbers.

No code in the files is run.
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from nemotron.files.regular_files import open_file, read_bytes

_NUMBERS = {"IntStorage": "<i", "LongStorage": "<q", "FloatStorage": "<f", "DoubleStorage": "<d", "BoolStorage": "<?"}
_LARGEST_PART = 2**60
"""More bytes than a part can have."""
StoredParts = dict[str, list[tuple[int, int]]]
"""A map from file names to offset and length in bytes of each part, in order."""
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
"""torch.save writes a zip archive without a comment, whose last record has this length."""


class _Anything:
    """Stands for an object of any class: keeps its arguments and does nothing."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any, **_: Any) -> "_Anything":
        made = object.__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None:
        """Accept an element, like a list."""

    extend = add = append


class PickleReader(pickle.Unpickler):
    """Reads a pickle without importing or calling anything that it names."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._classes: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> type:
        full = f"{module}.{name}"
        return self._classes.setdefault(full, type(name, (_Anything,), {"pickled_name": full}))

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_stored_parts(metadata: bytes) -> StoredParts:
    """Read where each part of a distributed checkpoint is stored, from `.metadata`.

    Returns:
        A map from file names to offset and length in bytes of each part, in order.

    Raises:
        ValueError: It cannot be read.
    """
    parts: StoredParts = {}
    try:
        for where in PickleReader(io.BytesIO(metadata)).load().state["storage_data"].values():
            name, offset, length = (where.state[key] for key in ("relative_path", "offset", "length"))
            if not name or Path(name).name != name or "\0" in name or not (offset >= 0 and 0 < length < _LARGEST_PART):
                raise ValueError  # a file elsewhere is not of this checkpoint
            parts.setdefault(name, []).append((int(offset), int(length)))
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"not readable ({type(error).__name__})") from None
    return {name: sorted(places) for name, places in parts.items()}


def count_model_bytes(metadata: Path) -> int:
    """Count the bytes of a checkpoint that are not of its optimizer.

    0 if they are not known.
    """
    try:
        stored = PickleReader(io.BytesIO(read_bytes(metadata))).load().state["storage_data"].items()
        return sum(int(place.state["length"]) for key, place in stored if "optimizer" not in key.state["fqn"])
    except Exception:  # a damaged pickle raises anything
        return 0


def find_damaged_shard(folder: Path, stored: StoredParts) -> tuple[str, str] | None:
    """Find the first missing or damaged file of a distributed checkpoint.

    Args:
        folder: The checkpoint.
        stored: Its files, from `read_stored_parts`.

    Returns:
        The file's name and what is wrong (`is missing`, `has 100 of its 200 bytes`); None if all files are complete.
    """
    for name, places in stored.items():
        file = folder / name
        what = check_parts(file, places) if file.is_file() else "is missing"
        if what is not None:
            return name, what
    return None


def check_parts(file: Path, parts: list[tuple[int, int]]) -> str | None:
    """Describe what is wrong with a file of a distributed checkpoint, or return None.

    The length and the ends of the first and last part are checked.

    Args:
        file: A `.distcp` file.
        parts: Offset and length of each part, in order, from `read_stored_parts`.
    """
    size, needed = file.stat().st_size, max(offset + length for offset, length in parts)
    if size < needed:
        return f"has {size:,} of its {needed:,} bytes"
    with open_file(file) as opened:
        for offset, length in (parts[0], parts[-1]):
            opened.seek(offset)
            if opened.read(2) != b"PK":  # another kind of part, or not a part
                return "holds other bytes than were saved"
            opened.seek(offset + length - _ZIP_END_BYTES)
            if opened.read(4) != _ZIP_END:
                return "holds other bytes than were saved"
    return None


def check_archive(file: Path | io.BytesIO) -> str | None:
    """Describe what is wrong with what torch.save wrote, or return None.

    Every byte is read and checked against the CRC.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if min(member.header_offset for member in archive.infolist()) > 0:
                return "has other bytes at its beginning"  # which zipfile skips, and torch does not
            return None if archive.testzip() is None else "has another checksum than was saved"
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        size = file.stat().st_size if isinstance(file, Path) else file.getbuffer().nbytes
        return "is cut off or overwritten" if size else "is empty"


def read_numbers(file: Path) -> dict[str, float]:
    """Read the scalar tensors of a dictionary that torch.save wrote.

    Megatron-Bridge's train_state.pt is such a dictionary.

    Raises:
        OSError, ValueError: The file does not exist or cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            [pickled] = _pickles(archive)
            folder = pickled.removesuffix("data.pkl")
            with archive.open(pickled) as opened:
                content = PickleReader(opened).load()  # pyright: ignore[reportArgumentType]
            found = {}
            for name, value in content.items():
                if (number := _number(archive, folder, value)) is not None:
                    found[name] = number
            return found
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"not readable ({type(error).__name__})") from None


def _number(archive: zipfile.ZipFile, folder: str, value: Any) -> float | None:
    """Read the number in a tensor from torch._utils._rebuild_tensor_v2's arguments."""
    if not isinstance(value, _Anything) or len(value.arguments) < 2 or not isinstance(value.arguments[0], tuple):
        return None
    (_, kind, key, *_), offset = value.arguments[:2]
    form = _NUMBERS.get(getattr(kind, "__name__", ""))
    if form is None:
        return None
    return struct.unpack_from(form, archive.read(f"{folder}data/{key}"), offset * struct.calcsize(form))[0]


def mentions(file: Path, word: str) -> bool:
    """Tell whether the dictionary in a file of torch.save contains a text."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(word.encode() in archive.read(name) for name in _pickles(archive))
    except (OSError, zipfile.BadZipFile):
        return False


def _pickles(archive: zipfile.ZipFile) -> Iterator[str]:
    return (name for name in archive.namelist() if name.endswith("/data.pkl"))
