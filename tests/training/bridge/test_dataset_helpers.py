"""Megatron-Core's compiled helpers, which a wheel has and nobody can build there."""

import sys
from types import ModuleType

import pytest
from tests.stand_ins import put_modules

from nemotron.training.bridge.dataset_helpers import use_built_helpers

HELPERS = "megatron.core.datasets.helpers_cpp"


@pytest.mark.parametrize("built", [True, False])
def test_helpers_are_built_only_where_there_are_none(monkeypatch, built):
    calls = []
    name = "megatron.bridge.training.initialize"
    modules = {name: {"compile_helpers": lambda: calls.append("make")}, "megatron.core.datasets": {}}
    initialize = put_modules(monkeypatch, modules)[name]
    monkeypatch.setitem(sys.modules, HELPERS, ModuleType(HELPERS) if built else None)
    use_built_helpers()
    initialize.compile_helpers()
    assert calls == ([] if built else ["make"])
