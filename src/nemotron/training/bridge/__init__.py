"""Adapt to the installed Megatron-Bridge release; only this package knows it.

    versions.py            which releases are tested, and the errors and warnings about others
    interface.py           what differs between the release lines, as an interface
    installed_line.py      which line is installed
    v06.py                 the 0.6 line, which uv.lock has
    v06_evaluation.py      the 0.6 line's loader of a whole split
    v04.py                 the 0.4 line, which the NeMo container of config/default.yaml has
    v04_datasets.py        the 0.4 line's dataset of packs, with what later lines added
    v04_weights.py         the 0.4 line's export of weights
    packed_data.py         how packs reach any line
    pack_order.py          packs in order of training, and as one evaluation
    evaluation_batches.py  how the packs of a split are cut into batches
    provider.py            float32 and no MTP, for which a model provider has no setting
    dataset_helpers.py     Megatron's compiled dataset helpers, which wheels lack

    from nemotron.training import bridge

    bridge.installed().make_packed_dataset(...)

Nothing here imports Megatron before a function is called.
"""

from nemotron.training.bridge.installed_line import installed
from nemotron.training.bridge.interface import HybridStack, Line, MicroBatch, Packs
from nemotron.training.bridge.versions import TESTED_RELEASES, check_release, missing_api, name_what_is_missing

__all__ = [
    "TESTED_RELEASES",
    "HybridStack",
    "Line",
    "MicroBatch",
    "Packs",
    "check_release",
    "installed",
    "missing_api",
    "name_what_is_missing",
]
