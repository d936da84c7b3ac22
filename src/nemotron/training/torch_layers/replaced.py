"""Attributes of somebody else's module, replaced for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(target: Any, **attributes: object) -> Iterator[None]:
    """Give `target` (a module) these attributes for the length of the `with` block.

    Raises:
        AttributeError: It has none of that name: a replacement that nothing would ever read.
    """
    before = {name: getattr(target, name) for name in attributes}
    for name, value in attributes.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)
