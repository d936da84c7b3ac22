"""Adapters on the 0.4 line, without it: what is refused there by layout."""

from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.errors import UserError
from nemotron.training.bridge.v04_weights import fit_adapters


@pytest.fixture(autouse=True)
def peft(monkeypatch):
    """Stands for megatron.bridge.peft."""
    name = "megatron.bridge.peft.utils"
    return put_modules(monkeypatch, {name: {"apply_swiglu_sharded_factory": None}})[name]


def test_adapters_on_routed_experts_that_are_divided_among_ranks_are_refused():
    with pytest.raises(UserError, match=r"model\.expert_model_parallel_size is 2"):
        fit_adapters(SimpleNamespace(expert_model_parallel_size=2), routed_experts=True)


@pytest.mark.parametrize(("size", "routed"), [(1, True), (8, False)])
def test_adapters_without_gates_are_saved_row_by_row(peft, size, routed):
    fit_adapters(SimpleNamespace(expert_model_parallel_size=size), routed_experts=routed)
    assert peft.apply_swiglu_sharded_factory("rows", (), singleton_local_shards=False) == "rows"
