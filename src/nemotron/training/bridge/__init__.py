"""The one seam that knows which Megatron-Bridge release is installed.

    release.py    which releases are tested, and the errors and warnings about others
    line.py       what differs between the release lines, as an interface
    line06.py     the 0.6 line, which uv.lock holds
    line04.py     the 0.4 line, which the NeMo container of config/default.yaml carries
    packs04.py    the 0.4 line's dataset of packs, with what later lines added
    weights04.py  the 0.4 line's export of weights
    order.py      packs in order of training, and as one evaluation

    from nemotron.training import bridge

    bridge.installed().packed_dataset(...)

Nothing here imports Megatron before a function is called.
"""

from nemotron.training.bridge.line import HybridStack, Line, MicroBatch, installed
from nemotron.training.bridge.release import (
    TESTED_RELEASES,
    check_release,
    missing_api,
    named_when_missing,
)

__all__ = [
    "TESTED_RELEASES",
    "HybridStack",
    "Line",
    "MicroBatch",
    "check_release",
    "installed",
    "missing_api",
    "named_when_missing",
]
