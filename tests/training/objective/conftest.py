"""Stand-ins for Megatron, so that the objective is tested on small tensors in seconds.

They are put in the place of the modules that the objective imports when it runs, and follow what these do
(megatron/bridge/training/losses.py, megatron/core/transformer/multi_token_prediction.py, megatron/core/utils.py).
"""

from types import SimpleNamespace

import pytest
import torch
from tests.stand_ins import put_modules
from torch.overrides import TorchFunctionMode

from nemotron.training import bridge
from nemotron.training.bridge import MicroBatch, v06
from nemotron.training.cpu.device import CudaToCpu

torch.set_num_threads(1)  # for small tensors; the threads of several test processes would wait for each other's cores

DATA_PARALLEL = object()
MTP_SUMS = ("loss_values", "correct_values", "total_values")


def masked_next_token_loss(loss_mask, output, *, check_for_nan_in_loss, check_for_spiky_loss):
    """The masked sum; Megatron-Bridge's second value is a number of tokens that the objective does not use."""
    assert (check_for_nan_in_loss, check_for_spiky_loss) == (True, False)  # as state_at() of the tests has them
    return (output.view(-1).float() * loss_mask.view(-1)).sum(), None, {}


def unwrap_model(models):
    return [getattr(model, "module", model) for model in models]


class Line:
    """The release line: a micro-batch is what the iterator gives, its mask included."""

    MTP_SUMS = v06.MTP_SUMS

    def model_chunk(self, model):
        return getattr(model, "chunk", 0)

    def pack_boundaries(self, batch):
        return batch["boundaries"]

    def read_micro_batch(self, state, micro_batches, model, groups):
        if micro_batches is None:
            return MicroBatch({"losses": None}, None)
        batch = next(micro_batches)
        return MicroBatch({"losses": batch["losses"]}, batch["loss_mask"])


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def tracker():
    """Megatron-Core's running sums of multi-token prediction; empty before the first training step."""
    return {}


@pytest.fixture
def megatron(monkeypatch, line, tracker):
    """Put the stand-ins in place; "cuda" means the CPU inside."""
    modules = {
        "megatron.bridge.training.utils.pg_utils": {
            "get_pg_collection": lambda model: SimpleNamespace(dp=DATA_PARALLEL)
        },
        "megatron.bridge.training.losses": {"masked_next_token_loss": masked_next_token_loss},
        "megatron.core.utils": {"unwrap_model": unwrap_model},
        "megatron.core.transformer.multi_token_prediction": {"MTPLossLoggingHelper": SimpleNamespace(tracker=tracker)},
    }
    put_modules(monkeypatch, modules)
    monkeypatch.setattr(bridge, "installed", lambda: line)
    with CudaToCpu():
        yield


class _NamesDevices(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.arange, torch.zeros, torch.ones, torch.tensor):
            assert "device" in (kwargs or {}), f"{function.__name__} makes a tensor on the CPU"
        return function(*args, **(kwargs or {}))


@pytest.fixture
def names_devices():
    """Inside, no new tensor may be made on the default device: with a batch on a GPU, torch would refuse the two."""
    return _NamesDevices()


class Model(torch.nn.Module):
    """Gives the losses it is handed, and keeps the loss masks; with `depths`, adds up MTP sums while it trains."""

    def __init__(self, tracker=None, depths=0, chunk=0):
        super().__init__()
        self.chunk = chunk
        self.masks = []
        self._tracker = {} if tracker is None else tracker
        self._depths = depths

    def forward(self, losses, loss_mask):
        self.masks.append(loss_mask)
        if self._depths and self.training:
            for name in MTP_SUMS:
                self._tracker.setdefault(name, torch.zeros(self._depths))
            depths = torch.arange(1.0, self._depths + 1)
            self._tracker["loss_values"] += depths * (losses * loss_mask).sum() / loss_mask.sum()
            self._tracker["correct_values"] += depths
            self._tracker["total_values"] += 10 * depths
        return losses


@pytest.fixture
def make_model(tracker):
    return lambda **options: Model(tracker, **options)
