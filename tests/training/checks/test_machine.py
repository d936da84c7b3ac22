"""What this machine does not have is refused, with what it could do instead."""

import pytest

from nemotron.config import load_config
from nemotron.training import backend
from nemotron.training.checks.machine import check_backend
from nemotron.training.config import SftConfig


def config(chosen="auto"):
    return load_config("tiny", [f"run.backend={chosen}"], schema=SftConfig).config


def check(settings):
    return check_backend(settings, backend.choose_backend(settings.run.backend))


@pytest.mark.parametrize("chosen", ["auto", "production", "torch", "cpu"])
def test_what_this_machine_has_is_taken(machine, chosen):
    machine(gpu=True, packages=backend.PRODUCTION_PACKAGES)
    assert [*check(config(chosen))] == []


@pytest.mark.parametrize("chosen", ["production", "torch"])
def test_without_a_gpu_the_cpu_is_pointed_to(machine, chosen):
    machine(gpu=False)
    [problem] = check(config(chosen))
    assert f"run.backend={chosen}" in problem.message
    assert "run.backend=cpu" in problem.hint


def test_production_without_its_packages_names_them(machine):
    machine(gpu=True, packages=("mamba_ssm",))
    [problem] = check(config("production"))
    assert "transformer_engine" in problem.message
    assert "mamba_ssm" not in problem.message
    assert "run.backend=torch" in problem.hint


@pytest.mark.parametrize(("chosen", "gpu"), [("auto", False), ("auto", True), ("torch", True), ("cpu", False)])
def test_context_parallelism_takes_the_production_stack(machine, chosen, gpu):
    machine(gpu=gpu)
    divided = config(chosen)
    divided.model["context_parallel_size"] = 2
    [problem] = check(divided)
    assert "model.context_parallel_size=2" in problem.message
    machine(gpu=True, packages=backend.PRODUCTION_PACKAGES)
    divided.run.backend = "auto"
    assert [*check(divided)] == []
