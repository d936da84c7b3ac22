"""A model provider of a Hugging Face folder, and a process group of one, with stand-ins for Megatron."""

from types import SimpleNamespace

import pytest
import torch
from tests.stand_ins import put_modules

from nemotron.training import bridge
from nemotron.training.weights.megatron_model import hf_provider, single_process_group


@pytest.mark.parametrize("load_weights", [False, True])
def test_a_provider_is_made_of_a_config_or_of_weights(monkeypatch, load_weights):
    completed = []

    def to_provider(source):
        return SimpleNamespace(to_megatron_provider=lambda load_weights: (source, load_weights))

    auto_bridge = SimpleNamespace(from_hf_pretrained=to_provider, from_hf_config=to_provider)
    config = SimpleNamespace(from_pretrained=lambda folder, trust_remote_code: ("config of", folder, trust_remote_code))
    put_modules(monkeypatch, {"megatron.bridge": {"AutoBridge": auto_bridge}, "transformers": {"AutoConfig": config}})
    line = SimpleNamespace(complete_provider=lambda *arguments: completed.append(arguments))
    monkeypatch.setattr(bridge, "installed", lambda: line)
    described = ("config of", "hf", False)  # code of the folder is never run
    provider = hf_provider("hf", load_weights=load_weights)
    assert provider == ("hf" if load_weights else described, load_weights)
    assert completed == [(provider, described)]


@pytest.fixture
def state(monkeypatch):
    """Megatron's state and torch's process group; the list has what is made and destroyed."""
    calls = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: calls == ["another group"])
    monkeypatch.setattr(torch.distributed, "HashStore", lambda: "in this process")
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, **options: calls.append((backend, options))
    )
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: calls.append("left"))
    put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.initialize": {"destroy_global_state": lambda: calls.append("no state")},
            "megatron.core.parallel_state": {"initialize_model_parallel": lambda: calls.append("parallel")},
            "megatron.core.tensor_parallel": {
                "model_parallel_cuda_manual_seed": lambda seed: calls.append(("seed", seed))
            },
        },
    )
    return calls


def test_a_process_group_of_one_uses_neither_ports_nor_variables(state, monkeypatch):
    torch.manual_seed(1)
    before, fork = torch.get_rng_state(), torch.random.fork_rng
    forked = []
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: forked.append(devices) or fork(devices))
    with single_process_group(7):
        assert torch.initial_seed() == 7
        torch.rand(1)
    group = ("gloo", {"store": "in this process", "rank": 0, "world_size": 1})
    assert state == [group, "parallel", ("seed", 7), "no state", "left"]
    assert torch.equal(torch.get_rng_state(), before)
    assert forked == [[]]  # the generators of GPUs are Megatron's


def test_a_process_group_ends_with_its_work(state):
    with pytest.raises(ZeroDivisionError), single_process_group():
        1 / 0  # noqa: B018
    assert state[-3:] == [("seed", 0), "no state", "left"]


def test_a_second_process_group_is_refused(state):
    state.append("another group")
    with pytest.raises(RuntimeError, match="exists already"), single_process_group():
        pass
    assert state == ["another group"]
