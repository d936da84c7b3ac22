"""Replace attributes of a module for the length of a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replace_attributes(target: Any, **attributes: object) -> Iterator[None]:
    """Give `target`, a module, these attributes inside the `with` block.

    Raises:
        AttributeError: The target has no attribute of that name, so nothing would read the replacement.
    """
    before = {name: getattr(target, name) for name in attributes}
    for name, value in attributes.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)
