"""What a run computes on: what is asked for, and what this machine has."""

from types import SimpleNamespace

import pytest

from nemotron.config import load_config
from nemotron.training import backend
from nemotron.training.config import SftConfig


def config(chosen="auto"):
    return load_config("tiny", [f"run.backend={chosen}"], schema=SftConfig).config


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
    assert backend.chosen_backend(config()) == expected


@pytest.mark.parametrize("chosen", ["production", "torch", "cpu"])
def test_a_named_backend_is_taken(machine, chosen):
    machine(gpu=True, packages=backend.PRODUCTION_PACKAGES)
    assert backend.chosen_backend(config(chosen)) == chosen


def test_torch_layers_that_nobody_asked_for_are_told(machine):
    machine(gpu=True, packages=("transformer_engine",))
    [note] = backend.describe_backend(config())
    assert "mamba_ssm not installed here" in note
    assert backend.describe_backend(config("torch")) == []
    machine(gpu=False)
    assert backend.describe_backend(config()) == []


@pytest.mark.parametrize("there", [True, False])
def test_gradients_are_accumulated_in_a_fused_kernel_only_where_there_is_one(machine, there):
    machine(gpu=True, packages=(backend.WEIGHT_GRADIENT_KERNELS,) if there else ())
    container = SimpleNamespace(model=SimpleNamespace(gradient_accumulation_fusion=True))
    backend.adapt(container, "production")
    assert container.model.gradient_accumulation_fusion is there
