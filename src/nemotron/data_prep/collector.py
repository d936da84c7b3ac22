"""Let Python's garbage collector run rarely."""

import contextlib
import gc
from collections.abc import Iterator

CONTAINERS = 500_000
"""So many new lists, dicts and other containers before the collector looks at them; Python's own value is 700."""


@contextlib.contextmanager
def collect_rarely() -> Iterator[None]:
    """Make garbage collection rare in a `with` block.

    Rows and modules have no reference cycles to free. Looking at all their objects takes 5 % of the time of data prep,
    and a tenth of the time of importing Megatron-Bridge, which makes 700,000 objects that stay.
    """
    before = gc.get_threshold()
    gc.set_threshold(CONTAINERS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
