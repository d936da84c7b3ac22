"""Code written for "cuda", on the CPU."""

import pytest
import torch

from nemotron.training.cpu.device import CudaToCpu, leave_uncompiled


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
