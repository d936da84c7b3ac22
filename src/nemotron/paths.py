"""Paths as users write them."""

from pathlib import Path

from nemotron.errors import UserError


def expand_home(path: str | Path) -> Path:
    """Replace `~` or `~user` at the start of a path with that home.

    Raises:
        UserError: There is no such user (`Path.expanduser` raises RuntimeError then).
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path} names a user who does not exist on this machine.", "Write the full path.") from None


def is_path(name: str) -> bool:
    """Tell whether this is meant as a path rather than as a Hugging Face id."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).exists()
