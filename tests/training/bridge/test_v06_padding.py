"""Padding that is kept out of the experts' routing, on small tensors with stand-ins for Megatron-Core's layers."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from tests.stand_ins import put_modules
from tests.training.bridge.stand_ins import groups

from nemotron.training.bridge import v06_padding
from nemotron.training.bridge.v06_padding import Remembering, padding_mask
from nemotron.training.cpu.device import CudaToCpu

PADDING = torch.tensor([[False, False, True, False, False, False, True, True]])
ENDS = torch.tensor([[0, 3, 8]])


class MoELayer(torch.nn.Module):
    """Gives back the mask that it gets."""

    def forward(self, hidden, padding_mask=None):
        return padding_mask


class Model(torch.nn.Module):
    """An expert layer of the main part, two of MTP, and an MTP layer without experts."""

    def __init__(self):
        super().__init__()
        self.decoder = MoELayer()
        self.mtp = torch.nn.ModuleList([MoELayer(), torch.nn.Linear(1, 1), MoELayer()])


class TopKRouter:
    """Adds up the tokens of each expert; a flat mask does not broadcast, as in Megatron-Core 0.19."""

    def _apply_expert_bias(self, routing_map, padding_mask=None):
        assert padding_mask is None
        self.counts = routing_map.sum(0).tolist()


def count_tokens(routing_map, reduce_group, with_padding_mask=False):
    """Of each expert, of this rank, and of the group."""
    return [5, 7], 12, 30


@pytest.fixture(autouse=True)
def router(monkeypatch):
    """Megatron-Core's module of the router. Context-parallel ranks take every other position."""

    def partition(ends, *, total_tokens, cp_group, device):
        assert ends.tolist() == [0, 3, 8]
        assert device == PADDING.device
        return torch.arange(cp_group.rank(), total_tokens, cp_group.size())

    name = "megatron.core.transformer.moe.router"
    contents = {
        "TopKRouter": type("TopKRouter", (TopKRouter,), {}),
        "get_tokens_per_expert_and_token_count": count_tokens,
    }
    modules = put_modules(
        monkeypatch,
        {
            name: contents,
            "megatron.core.transformer.moe.moe_layer": {"MoELayer": MoELayer},
            "megatron.bridge.training.utils.packed_seq_utils": {"get_thd_cp_partition_indices": partition},
        },
    )
    monkeypatch.setattr(v06_padding, "_patch_router", cache(v06_padding._patch_router.__wrapped__))
    with CudaToCpu():
        yield modules[name]


def mask(model=None, sequence_parallel=False, **sizes):
    config = SimpleNamespace(sequence_parallel=sequence_parallel)
    return padding_mask(PADDING, {"cu_seqlens_q": ENDS}, model or Model(), config, groups(**sizes)).tolist()


def test_a_rank_gets_the_padding_of_its_positions():
    whole = PADDING.tolist()
    assert mask() == whole
    assert mask(cp=2, rank=0) == [[False, True, False, True]]
    assert mask(cp=2, rank=1) == [[False, False, False, True]]
    assert mask(tp=2) == whole  # every rank has all positions
    assert mask(tp=2, rank=1, sequence_parallel=True) == [[False, False, True, True]]
    assert mask(tp=1, sequence_parallel=True) == whole


def test_expert_layers_of_mtp_get_the_mask_of_each_micro_batch():
    model = Model()
    mask(model)
    assert model.decoder(1) is None  # it is an argument of the model's forward pass
    assert [model.mtp[number](1).tolist() for number in (0, 2)] == [PADDING.tolist()] * 2
    mask(model, cp=2)
    assert model.mtp[2](hidden=1).tolist() == [[False, True, False, True]]
    assert [len(layer._forward_pre_hooks) for layer in model.mtp] == [1, 0, 1]
    assert len([*model.modules()]) == 6  # its layers are not registered a second time


def test_padding_gives_experts_no_tokens_to_balance(router):
    mask()
    one = router.TopKRouter()
    routing = torch.tensor([[True, False], [True, True], [False, True]])
    one._apply_expert_bias(routing)
    assert one.counts == [2, 2]
    one._apply_expert_bias(routing, torch.tensor([[False, True, False]]))
    assert one.counts == [1, 1]


def test_with_padding_a_rank_counts_the_mean_of_its_group(router):
    """Megatron multiplies it by the size of the group."""
    mask()
    count, group = router.get_tokens_per_expert_and_token_count, groups(cp=5).cp
    assert count(None, group) == ([5, 7], 12, 30)
    assert count(None, group, with_padding_mask=True) == ([5, 7], 6, 30)
    assert count(None, reduce_group=group, with_padding_mask=True) == ([5, 7], 6, 30)


def test_the_router_is_patched_once(router):
    mask()
    once = router.TopKRouter._apply_expert_bias
    mask()
    assert router.TopKRouter._apply_expert_bias is once


def test_an_iterator_keeps_its_last_micro_batch():
    read = Remembering(iter([{"padding": 1}, {"padding": 2}]))
    assert read.last == {}
    for batch in read:
        assert read.last is batch
    assert read.last == {"padding": 2}
