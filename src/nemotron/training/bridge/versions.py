"""List the tested Megatron-Bridge releases, and report others."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nemotron.errors import UserError

TESTED_RELEASES = ("0.6.2", "0.4.2")

logger = logging.getLogger(__name__)


def check_release() -> str:
    """Return the installed Megatron-Bridge release; warn if it is not tested.

    Raises:
        UserError: It is not installed.
    """
    release = _installed_release()
    if release is None:
        raise UserError(
            "Megatron-Bridge is not installed.",
            "Install this project with `uv sync`, or run in the NeMo container named in config/default.yaml.",
        )
    if release not in TESTED_RELEASES:
        logger.warning(
            "megatron-bridge %s is installed; this package is tested with %s.", release, " and ".join(TESTED_RELEASES)
        )
    return release


def missing_api(name: str) -> UserError:
    """Make the error for a name that the installed Megatron does not have.

    Args:
        name: The dotted name, with its module.
    """
    return UserError(
        f"The installed megatron-bridge {_installed_release()} (megatron-core {_release_of('megatron-core')}) has no "
        f"{name}.",
        f"This package is tested with megatron-bridge {' and '.join(TESTED_RELEASES)}: install one of these.",
    )


@contextmanager
def name_what_is_missing() -> Iterator[None]:
    """Turn a failed import from Megatron into an error that names it.

    Raises:
        UserError: Megatron lacks the name. Other failed imports are passed on.
    """
    try:
        yield
    except ImportError as error:
        module = error.name or ""
        if module.split(".")[0] != "megatron":
            raise
        raise missing_api(f"{module}.{error.name_from}" if error.name_from else module) from error


def build(owner: type, **values: Any) -> Any:
    """Check the fields of a dataclass of Megatron, and make `owner(**values)`.

    Raises:
        UserError: A field does not exist.
    """
    known = {field.name for field in dataclasses.fields(owner)}
    for name in values:
        if name not in known:
            raise missing_api(f"{owner.__module__}.{owner.__qualname__}.{name}")
    return owner(**values)


def _installed_release() -> str | None:
    return _release_of("megatron-bridge")


def _release_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
