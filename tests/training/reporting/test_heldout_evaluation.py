"""The evaluation of the test split at the end of a run, with stand-ins for Megatron-Bridge."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import import_again, put_modules

from nemotron.training import bridge
from nemotron.training.prepared_data import PreparedData


class Line:
    """A release line that evaluates in two batches of eight, and changes the config for that."""

    def evaluation(self, packs, ranks, global_batch_size, largest, asked):
        assert (ranks, global_batch_size, largest, asked) == (4, 16, None, None)
        return (8, 2) if packs else (0, 0)

    def set_evaluation(self, container, batch, iterations):
        container.validation.eval_iters, container.dataset.valid_rows = iterations, batch

    def split_iterator(self, container, tokenizer, folder, ranks):
        assert ranks.size() == 4
        return ("batches of", tokenizer, folder)

    def count_evaluated_packs(self, container, packs):
        return min(packs, container.validation.eval_iters * container.dataset.valid_rows)


@pytest.fixture
def world(monkeypatch):
    """The module, what `evaluate` of Megatron-Bridge was called with, and what was written."""
    world = SimpleNamespace(calls=[], written=[], losses={"lm loss": 1.5})

    def evaluate(**arguments):
        validation = arguments["state"].cfg.validation
        world.calls.append({**arguments, "iterations": validation.eval_iters})
        return world.losses, None, False

    put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.callbacks": {"Callback": object, "CallbackContext": object},
            "megatron.bridge.training.eval": {"evaluate": evaluate},
            "megatron.bridge.training.utils.pg_utils": {
                "get_pg_collection": lambda model: SimpleNamespace(dp=SimpleNamespace(size=lambda: 4))
            },
            "megatron.core.utils": {"get_model_config": lambda chunk: f"config of {chunk}"},
        },
    )
    monkeypatch.setattr(bridge, "installed", Line)
    world.module = import_again(monkeypatch, "nemotron.training.reporting.heldout_evaluation")
    config = SimpleNamespace(
        train=SimpleNamespace(global_batch_size=16),
        validation=SimpleNamespace(eval_iters=50),
        dataset=SimpleNamespace(valid_rows=400),
    )
    world.state = SimpleNamespace(cfg=config, tokenizer="tokenizer", train_state=SimpleNamespace(step=10))
    return world


def finish(world, packs=12):
    """End the training of a run whose test split has so many packs."""
    data = PreparedData("packs", Path("splits"), {"train": 1, "test": packs})
    writer = SimpleNamespace(write_evaluation=lambda *arguments: world.written.append(arguments))
    for callback in world.module.evaluate_test_split(data, "the step", writer):
        callback.on_train_end(SimpleNamespace(state=world.state, model=["chunk 0", "chunk 1"]))


@pytest.mark.parametrize(("packs", "counted"), [(12, 12), (99, 16)])
def test_the_whole_split_is_evaluated_and_written(world, packs, counted):
    finish(world, packs)
    assert world.calls == [
        {
            "state": world.state,
            "forward_step_func": "the step",
            "data_iterator": ("batches of", "tokenizer", Path("splits/test")),
            "model": ["chunk 0", "chunk 1"],
            "process_non_loss_data_func": None,
            "config": "config of chunk 0",
            "is_test": True,
            "iterations": 2,
        }
    ]
    assert world.written == [("test", 10, {"lm loss": 1.5}, counted)]


def test_the_settings_of_validation_are_as_before(world):
    finish(world)
    assert (world.state.cfg.validation.eval_iters, world.state.cfg.dataset.valid_rows) == (50, 400)


def test_a_rank_without_losses_writes_none(world):
    world.losses = None
    finish(world)
    assert world.written == [("test", 10, {}, 12)]


def test_a_split_that_is_empty_is_logged_and_not_evaluated(world, caplog):
    with caplog.at_level(logging.WARNING):
        finish(world, packs=0)
    assert "test split is empty" in caplog.text
    assert (world.calls, world.written) == ([], [])


def test_a_split_that_the_ranks_cannot_share_is_not_evaluated(world, monkeypatch):
    monkeypatch.setattr(Line, "evaluation", lambda *_: (0, 0))
    finish(world)
    assert (world.calls, world.written) == ([], [])
