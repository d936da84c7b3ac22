"""Adapters on the 0.4 line, without it: what is refused there by layout."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.errors import UserError
from nemotron.training.bridge.v04_weights import fit_adapters, load_adapters, save_hf_weights


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


def test_only_adapters_are_loaded(monkeypatch):
    loaded = []

    def only_adapters(state, peft):
        assert peft == "lora"
        return {"model": [name for name in state["model"] if "adapter" in name]}

    put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.checkpointing": {"apply_peft_adapter_filter_to_state_dict": only_adapters},
            "megatron.core.dist_checkpointing": {"load": lambda wanted, folder: {"model": (wanted["model"], folder)}},
        },
    )
    chunk = SimpleNamespace(
        sharded_state_dict=lambda: ["weight", "adapter.a"],
        load_state_dict=lambda state, strict: loaded.append((state, strict)),
    )
    load_adapters([chunk], Path("iter"), "lora")
    assert loaded == [((["adapter.a"], "iter"), False)]


def test_weights_are_saved_by_the_names_of_the_conversion_table(monkeypatch):
    saved = {}

    def stream(kind, model, source, *, cpu, show_progress):
        assert (kind, model, cpu, show_progress) == (("NemotronH", "instance"), ["chunk"], True, False)
        assert source.config == "config"
        assert "any name" in source.state.source
        assert "another" in source.state.get_all_keys()
        yield "weight", SimpleNamespace(contiguous=lambda: "in a row")

    put_modules(
        monkeypatch,
        {
            "huggingface_hub": {"save_torch_state_dict": lambda state, folder: saved.update({folder: state})},
            "megatron.bridge.models.conversion.model_bridge": {"stream_weights_megatron_to_hf": stream},
        },
    )
    auto_bridge = SimpleNamespace(
        hf_pretrained="config", _causal_lm_architecture="NemotronH", _get_model_instance=lambda model: "instance"
    )
    save_hf_weights(auto_bridge, ["chunk"], Path("folder"))
    assert saved == {Path("folder"): {"weight": "in a row"}}
