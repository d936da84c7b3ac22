"""What the tests of exactness share."""

import pytest
import torch
from tests.training.exactness.compare import Reference


@pytest.fixture(scope="module")
def reference():
    """The formulas, worked out on one thread: their sums then have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Reference()
    torch.set_num_threads(threads)
