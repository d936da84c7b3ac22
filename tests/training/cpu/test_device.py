"""Code written for "cuda", on the CPU."""

import pytest
import torch
from tests.stand_ins import put_modules

from nemotron.training.cpu.device import CudaToCpu, device_mode, leave_uncompiled


@pytest.fixture
def mode():
    with CudaToCpu():
        yield


@pytest.mark.parametrize("device", ["cuda", "cuda:3", torch.device("cuda"), torch.device("cuda", 1)])
def test_tensors_for_cuda_are_made_on_the_cpu(mode, device):
    assert torch.zeros(2, device=device).device.type == "cpu"
    assert torch.tensor([1.0], device=device).device.type == "cpu"
    assert torch.ones(2).to(device).device.type == "cpu"
    assert torch.ones(2).to(device=device, dtype=torch.float64).dtype == torch.float64


def test_moving_to_cuda_moves_nothing(mode):
    tensor = torch.ones(2, requires_grad=True)
    assert tensor.cuda() is tensor
    assert torch.nn.Linear(2, 2).cuda().weight.device.type == "cpu"


def test_other_devices_are_left_alone(mode):
    for device in ("meta", torch.device("meta")):
        assert torch.zeros(2, device=device).device.type == "meta"
        assert torch.ones(2).to(device).device.type == "meta"


def test_a_tensor_calls_itself_what_megatrons_optimizer_compares_with(mode):
    assert torch.ones(2).type() == "torch.cuda.FloatTensor"
    assert torch.ones(2).type(torch.float64).dtype == torch.float64
    assert torch.ones(2).type(dtype=torch.float64).dtype == torch.float64


def test_outside_the_mode_nothing_is_replaced():
    with CudaToCpu():
        pass
    assert torch.ones(2).type() == "torch.FloatTensor"


def test_not_compiled_stands_for_both_forms_of_the_decorator():
    @leave_uncompiled
    def plain():
        return 1

    @leave_uncompiled(dynamic=True)
    def with_options():
        return 2

    assert (plain(), with_options()) == (1, 2)


ASKED = (
    *("current_device", "device_count", "set_device", "get_device_capability", "get_device_properties"),
    *("synchronize", "ipc_collect", "Stream", "Event", "current_stream", "stream", "memory_allocated"),
    *("max_memory_allocated", "memory_reserved", "max_memory_reserved", "memory_stats", "manual_seed"),
    *("get_rng_state", "set_rng_state"),
)
"""What Megatron's training loop asks of torch.cuda."""


def gpu(*_, **__):
    raise AssertionError("the GPU of this machine was asked")


@pytest.fixture
def machine_of_one(monkeypatch):
    """A machine whose GPU is not to be touched; Megatron's module of random numbers is a stand-in."""
    for name in ASKED:
        monkeypatch.setattr(torch.cuda, name, gpu)
    random = {"_get_cuda_rng_state": "Megatron's", "_set_cuda_rng_state": "Megatron's"}
    modules = put_modules(monkeypatch, {"megatron.core.tensor_parallel.random": random})
    with device_mode():
        yield modules["megatron.core.tensor_parallel.random"]


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("current_device", (), torch.device("cpu")),
        ("device_count", (), 1),
        ("set_device", (0,), None),
        ("get_device_capability", (), (8, 0)),
        ("get_device_capability", (0,), (8, 0)),
        ("synchronize", (), None),
        ("ipc_collect", (), None),
        ("memory_allocated", (), 0),
        ("max_memory_allocated", (0,), 0),
        ("memory_reserved", (), 0),
        ("max_memory_reserved", (), 0),
        ("memory_stats", (), {}),
        ("memory_stats", (0,), {}),
    ],
)
def test_torch_cuda_answers_for_one_device_without_memory_of_its_own(machine_of_one, name, arguments, answer):
    assert getattr(torch.cuda, name)(*arguments) == answer


def test_the_device_has_the_properties_that_megatron_reads(machine_of_one):
    properties = vars(torch.cuda.get_device_properties(0))
    assert properties == {
        "name": "cpu", "major": 8, "minor": 0, "multi_processor_count": 1, "total_memory": 8 * 2**30,
    }  # fmt: skip


def test_on_a_stream_everything_has_happened_already(machine_of_one):
    stream = torch.cuda.Stream(priority=-1)
    with torch.cuda.stream(stream):
        event = stream.record_event()
    for done in (event, torch.cuda.Event(enable_timing=True), torch.cuda.current_stream()):
        done.record()
        done.wait_event(event)
        done.wait_stream(stream)
        done.synchronize()


def test_the_random_numbers_of_the_gpu_are_those_of_the_cpu(machine_of_one):
    torch_functions = (torch.cuda.get_rng_state, torch.cuda.set_rng_state)
    megatrons = (machine_of_one._get_cuda_rng_state, machine_of_one._set_cuda_rng_state)
    for get_state, set_state in (torch_functions, megatrons):
        torch.cuda.manual_seed(7)
        state = get_state()
        drawn = torch.rand(2)
        set_state(state)
        assert torch.equal(torch.rand(2), drawn)
        torch.manual_seed(7)
        assert torch.equal(torch.rand(2), drawn)


def test_everything_is_as_before_afterwards(monkeypatch):
    random = {"_get_cuda_rng_state": "Megatron's", "_set_cuda_rng_state": "Megatron's"}
    modules = put_modules(monkeypatch, {"megatron.core.tensor_parallel.random": random})
    before = (torch.cuda.device_count, torch.cuda.Stream, torch.compile)
    with device_mode(), device_mode():
        assert torch.compile is leave_uncompiled
        assert torch.zeros(2, device="cuda").device.type == "cpu"
    assert (torch.cuda.device_count, torch.cuda.Stream, torch.compile) == before
    assert modules["megatron.core.tensor_parallel.random"]._get_cuda_rng_state == "Megatron's"
