"""Read loss flags, under the names that other tools use.

A loss flag says whether an assistant's message trains.
"""

from typing import Any

from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.json_text import is_filled, quote, shorten
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind

OF_THE_ROW = tuple(f"{name} of the row" for name in names.TRAINED_FLAGS)
_ALL = names.FLAGS | frozenset(OF_THE_ROW)


def read_flags(raw: dict[str, Any], where: str) -> bool | None:
    """Read whether an assistant's message trains by its flags; None without flags.

    Raises:
        RowError: A flag is not supported, or two flags contradict each other.
    """
    flags = {name: flag for name in raw if name in _ALL and (flag := read_flag(name, raw[name], where)) is not None}
    if len(set(flags.values())) > 1:
        shown = {name: raw[name] for name in flags}
        raise RowError(DropReason.BAD_TRAIN_FLAG, f"{where}: {shorten(shown)} contradict each other")
    return next(iter(flags.values()), None)


def read_flag(name: str, value: object, where: str) -> bool | None:
    """Read one flag: whether to train, or None if it is null.

    Raises:
        RowError: The flag is not true, false, 1 or 0.
    """
    if name in names.PARTIAL_FLAGS:
        if is_filled(value):
            raise RowError(DropReason.BAD_TRAIN_FLAG, f"{where}: {name} is {shorten(value)}, for parts of the text")
        return None
    if value is None:
        return None
    if not isinstance(value, int | float) or value not in (0, 1):
        raise RowError(DropReason.BAD_TRAIN_FLAG, f"{where}: {name} is {shorten(value)}, not {quote([True, False])}")
    return bool(value) is not (name in names.CONTEXT_FLAGS)


def note_idle_flags(raw: dict[str, Any], role: str, found: Findings) -> None:
    """Note flags that ask to train a message of another role than the assistant."""
    for name in raw:
        if name in names.FLAGS and is_filled(raw[name]):
            says_context = raw[name] in (0, 1) and bool(raw[name]) is (name in names.CONTEXT_FLAGS)
            if not says_context:
                found.note(NoteKind.UNUSED_MESSAGE_FIELD, f"{name} ({role})")
