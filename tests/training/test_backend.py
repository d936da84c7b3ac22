"""What a run computes on: what is asked for, and what this machine has."""

import contextlib
import os
from types import SimpleNamespace

import pytest

from nemotron.training import backend, cpu, torch_layers


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


@pytest.fixture
def entered(monkeypatch):
    """What was made importable, in order."""
    entered = []

    @contextlib.contextmanager
    def on_cpu():
        entered.append("cpu")
        yield
        entered.append("left")

    monkeypatch.setattr(backend, "use_built_helpers", lambda: entered.append("helpers"))
    monkeypatch.setattr(cpu, "backend", on_cpu)
    monkeypatch.setattr(torch_layers, "activate", lambda: entered.append("torch"))
    monkeypatch.setattr(cpu, "apply", lambda container: entered.append(("cpu applied", container)))
    monkeypatch.setattr(torch_layers, "apply", lambda container: entered.append(("torch applied", container)))
    return entered


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("production", ["helpers"], []), ("torch", ["torch"], []), ("cpu", ["cpu"], ["left"])],
)
def test_megatron_is_importable_inside_and_a_config_is_adapted(entered, name, before, after):
    config = SimpleNamespace(model=SimpleNamespace(gradient_accumulation_fusion=False))
    with backend.use_backend(name) as adapt:
        assert entered == before
        adapt(config)
        applied = [] if name == "production" else [(f"{name} applied", config)]
        assert entered == [*before, *applied]
    assert entered == [*before, *applied, *after]


NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def test_a_process_without_a_launcher_is_the_only_one(entered, monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "removed when the test ends")
        monkeypatch.delenv(name)
    with backend.use_backend("torch"):
        assert [os.environ[name] for name in NAMES[:-1]] == ["0", "0", "1", "127.0.0.1"]
        assert 1024 <= int(os.environ["MASTER_PORT"]) < 65536


def test_what_a_launcher_says_stays(entered, monkeypatch):
    for number, name in enumerate(NAMES, 5):
        monkeypatch.setenv(name, str(number))
    with backend.use_backend("torch"):
        assert [os.environ[name] for name in NAMES] == ["5", "6", "7", "8", "9"]
