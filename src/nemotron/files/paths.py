"""Paths as users write them, as the system takes them, and of what is shipped."""

import glob
import os
import re
import tempfile
from pathlib import Path

import nemotron
from nemotron.errors import UserError


def expand_home[P: (str, Path)](path: P) -> P:
    """Replace `~` or `~user` at the start of a path with that home.

    This is done once, where a path comes in: from a config, a command line, env.toml, a blend file or a record.

    Raises:
        UserError: There is no such user (`Path.expanduser` raises RuntimeError then), or no path is like that.
    """
    if "\0" in str(path):
        raise UserError(f"{path} is no path: it has a NUL.", "Write another one.")
    if not str(path).startswith("~"):
        return path
    try:
        return type(path)(Path(path).expanduser())
    except RuntimeError:
        raise UserError(f"{path} names a user who does not exist on this machine.", "Write the full path.") from None


def ensure_text(path: str | Path, what: str) -> None:
    """Refuse a path that records could not name, because its bytes are not UTF-8.

    Args:
        path: The path.
        what: What it is, to begin the message.

    Raises:
        UserError: It is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} has a path that is not UTF-8: {path}.", "Rename it.") from None


def find_matches(pattern: str) -> list[str]:
    """Return the paths that a glob matches; `**` is any number of folders."""
    # Twice in a row it is the same as once, but each would be searched for all of the next.
    return glob.glob(re.sub(r"(\*\*/+){2,}", "**/", pattern), recursive=True)


def is_path(name: str) -> bool:
    """Tell whether this is meant as a path rather than as a Hugging Face id."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).exists()


LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket (unix(7))."""
_SOCKET_NAME = len("/pymp-12345678/listener-12345678")


def keep_sockets_short() -> None:
    """Let multiprocessing make its sockets in /tmp where TMPDIR is too long for them.

    Schedulers set a TMPDIR of their own for each job. Call it before the first use of multiprocessing: it remembers
    its folder, and removes it at the end of the process.
    """
    if len(os.fsencode(tempfile.gettempdir())) + _SOCKET_NAME <= LONGEST_SOCKET:
        return
    from multiprocessing import util

    before = tempfile.tempdir
    tempfile.tempdir = "/tmp"
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = before


def config_dir() -> Path:
    """Return the folder of the shipped configs.

    It is `config/` in a source checkout and `nemotron/_config` in an installed wheel.
    """
    package = Path(nemotron.__file__).resolve().parent
    installed = package / "_config"
    return installed if installed.is_dir() else package.parents[1] / "config"


def nearest_folder(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    return path if path.exists() else nearest_folder(path.parent)
