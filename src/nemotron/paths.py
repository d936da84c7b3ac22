"""Paths as users write them."""

from pathlib import Path

from nemotron.errors import UserError


def expand_home(path: str | Path) -> Path:
    """`path` with `~` or `~user` at its start replaced by that home.

    Raises:
        UserError: this machine has no such user, for which `Path.expanduser` raises RuntimeError.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path} names the home of a user this machine does not have.", "Write the path out.") from None
