"""The steps of a start, in the order in which Megatron-Bridge's setup takes them."""

import sys
from types import ModuleType

import pytest

from nemotron.training.reporting.startup import Startup

SETUP = "megatron.bridge.training.setup"


@pytest.fixture
def setup(monkeypatch):
    """A stand-in for the module: `run` logs what setup() of both lines logs."""
    logged: list[str] = []
    module = ModuleType(SETUP)

    def run():
        for text in (
            "after megatron is initialized",
            "after tokenizer is built",
            "after model, optimizer, and learning rate scheduler are built",
            "something new",
            "after dataloaders are built",
        ):
            module.barrier_and_log(text)

    vars(module).update(barrier_and_log=logged.append, run=run, logged=logged)
    monkeypatch.setitem(sys.modules, SETUP, module)
    return module


def test_every_step_is_a_line_with_the_seconds_so_far(setup):
    said: list[str] = []
    startup = Startup(said.append)
    startup.step("Importing torch and Megatron-Bridge")
    with startup.follow_setup():
        setup.run()
    assert [line.split(" s  ")[1].split()[0] for line in said] == [
        "Importing", "Loading", "Building", "Loading", "Training",
    ]  # fmt: skip
    assert all(line.split(" s  ")[0].strip().isdigit() for line in said)


def test_megatrons_own_log_is_as_it_was_and_the_module_too(setup):
    original = setup.barrier_and_log
    with Startup(print).follow_setup():
        setup.run()
    assert len(setup.logged) == 5
    assert setup.barrier_and_log is original


def test_a_release_that_logs_otherwise_is_silent(setup):
    del setup.barrier_and_log
    with Startup(print).follow_setup():
        pass
    assert not hasattr(setup, "barrier_and_log")
