"""Find and read `env.toml`, check the types of its values, and locate mistakes."""

import os
import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from nemotron.errors import UserError, did_you_mean
from nemotron.files.regular_files import read_text

FILE_NAME = "env.toml"
FILE_VARIABLE = "NEMOTRON_ENV_FILE"

_EXPECTED = {bool: "true or false", int: "a whole number", str: "text in quotes"}


class ProfileError(UserError):
    """A mistake in env.toml, or a missing profile; names the file and the line."""


def find_env_file(start: Path | None = None) -> Path | None:
    """Find $NEMOTRON_ENV_FILE, or the nearest env.toml in this folder or above.

    Args:
        start: Where to begin; by default the working directory.

    Raises:
        ProfileError: $NEMOTRON_ENV_FILE does not name a file.
    """
    if named := os.environ.get(FILE_VARIABLE):
        if not Path(named).is_file():
            raise ProfileError(f"{FILE_VARIABLE} names {named}, which is not a file.", "Correct it or unset it.")
        return Path(named)
    start = (start or Path.cwd()).resolve()
    return next((path for folder in (start, *start.parents) if (path := folder / FILE_NAME).is_file()), None)


LARGEST_FILE = 4 * 2**20
"""The most bytes that an env.toml may have."""


def read_env_file(path: Path) -> "EnvFile":
    """Parse an env.toml; parse it again only if the file has changed."""
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> "EnvFile":
    return EnvFile(path)


class EnvFile:
    """A parsed env.toml: `tables` maps each table's name to its plain values."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise ProfileError(f"{path} has {size:,} bytes; it may have {LARGEST_FILE:,}.", "Move data elsewhere.")
        try:
            self._lines = read_text(path).splitlines()
            self.tables: dict[str, Any] = tomllib.loads("\n".join(self._lines))
        except RecursionError as error:
            raise ProfileError(f"{path} is nested too deeply.", "Close the brackets of its lists.") from error
        except UnicodeDecodeError as error:
            raise ProfileError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
        except tomllib.TOMLDecodeError as error:
            raise ProfileError(
                f"{path} is not valid TOML: {error}.", "Put texts in quotes and lists in brackets."
            ) from error
        for key, value in self.tables.items():
            if not isinstance(value, dict):
                place = self.place(key)
                raise ProfileError(f"{place}: {key} is outside every table.", "Move it below a [PROFILE] line.")

    def place(self, key: str, table: str = "") -> str:
        """Return `path:line` of a key, or of the table if `key` is empty.

        TOML parsers do not report positions, so the line is looked up in the text.
        """
        here = ""
        for number, line in enumerate(self._lines, 1):
            if header := re.match(r"\s*\[([^\[\]]+)\]", line):
                here = re.sub(r"[\"'\s]", "", header[1])
                if here == ".".join(filter(None, [table, key])):
                    return f"{self.path}:{number}"
            elif key and here == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
                return f"{self.path}:{number}"
        return str(self.path)

    def read_as(self, kind: Any, key: str, table: str) -> Any:
        """Return the value of a key as `kind`; whole numbers may be text (`mem = 0`).

        Args:
            kind: Str, int, bool, Literal, a tuple or dict of str, or one of these or None.
            key: The key to read.
            table: The table that has the key.

        Raises:
            ProfileError: The value is of another kind; the message has the line.
        """
        value = self.table(table)[key]
        hint = None
        if get_origin(kind) is Literal:
            if value in get_args(kind):
                return value
            expected, hint = f"one of {', '.join(get_args(kind))}", did_you_mean(str(value), get_args(kind))
        elif get_origin(kind) is tuple:
            if isinstance(value, list) and all(isinstance(part, str) for part in value):
                return tuple(value)
            expected = "a list of texts in brackets"
        elif get_origin(kind) is dict:
            if isinstance(value, dict) and all(isinstance(part, str | int | float) for part in value.values()):
                return {name: _as_text(part) for name, part in value.items()}
            expected = 'a table like { NAME = "value" }'
        else:
            wanted = next(part for part in _EXPECTED if kind is part or part in get_args(kind))
            if wanted is str and type(value) is int:
                return str(value)
            if type(value) is wanted:
                return value
            expected = _EXPECTED[wanted]
        raise ProfileError(
            f"{self.place(key, table)}: {key} = {_describe_value(key, value)} should be {expected}.", hint
        )

    def refuse_unknown(self, table: str, known: Iterable[str]) -> None:
        """Refuse unknown keys in a table.

        Raises:
            ProfileError: A key is not one of `known`; the message names the first.
        """
        known = list(known)
        for key in self.table(table):
            if key not in known:
                hint = did_you_mean(key, known) or f"Keys of [{table}]: {', '.join(known)}."
                raise ProfileError(f"{self.place(key, table)}: [{table}] has no key {key}.", hint)

    def table(self, name: str) -> dict[str, Any]:
        """Return a table by its name; `parent.child` is a table inside another."""
        if name in self.tables:
            return self.tables[name]
        parent, _, child = name.rpartition(".")
        return self.tables[parent][child]


def _as_text(value: str | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _describe_value(key: str, value: Any) -> str:
    """Describe a value for a message.

    A table may contain secrets, so only its size is shown.
    """
    return f"a table of {len(value)} keys" if isinstance(value, dict) else repr(value)
