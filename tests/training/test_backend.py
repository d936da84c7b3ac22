"""What a run computes on: what is asked for, and what this machine has."""

from types import SimpleNamespace

import pytest

from nemotron.training import backend


@pytest.mark.parametrize(
    ("gpu", "packages", "expected"),
    [
        (False, (), "cpu"),
        (False, backend.PRODUCTION_PACKAGES, "cpu"),
        (True, (), "torch"),
        (True, ("mamba_ssm",), "torch"),
        (True, backend.PRODUCTION_PACKAGES, "production"),
    ],
)
def test_auto_takes_what_there_is(machine, gpu, packages, expected):
    machine(gpu=gpu, packages=packages)
    assert backend.choose_backend("auto").name == expected


@pytest.mark.parametrize("chosen", ["production", "torch", "cpu"])
def test_a_named_backend_is_taken(machine, chosen):
    machine(gpu=True, packages=backend.PRODUCTION_PACKAGES)
    assert backend.choose_backend(chosen).name == chosen


def test_torch_layers_that_nobody_asked_for_are_reported(machine):
    machine(gpu=True, packages=("transformer_engine",))
    [note] = backend.choose_backend("auto").notes
    assert "mamba_ssm not installed here" in note
    assert backend.choose_backend("torch").notes == ()
    machine(gpu=False)
    assert backend.choose_backend("auto").notes == ()


@pytest.mark.parametrize("there", [True, False])
def test_gradients_are_accumulated_in_a_fused_kernel_only_where_there_is_one(machine, there):
    machine(gpu=True, packages=(backend.WEIGHT_GRADIENT_KERNELS,) if there else ())
    container = SimpleNamespace(model=SimpleNamespace(gradient_accumulation_fusion=True))
    backend.adapt(container, "production")
    assert container.model.gradient_accumulation_fusion is there
