"""The valid split as the 0.6 line reads it, with a stand-in for Megatron-Bridge's loaders."""

from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.training.bridge.v06_evaluation import evaluate_whole, fill_up, rows_of_an_evaluation


class Packs(list):
    """As Megatron-Bridge's: the last of them stands for one that trains nothing."""

    collate_fn = None


@pytest.fixture
def loaders(monkeypatch):
    """Megatron-Bridge's module, whose function builds the datasets and returns them."""
    name = "megatron.bridge.data.loaders"
    modules = put_modules(
        monkeypatch, {name: {"build_train_valid_test_data_loaders": lambda cfg, train_state, build: build()}}
    )
    evaluate_whole()
    return modules[name]


def build(loaders, valid, iterations, consumed=0):
    """The valid split for evaluations of so many batches of four, and the rows read of it so far."""
    validation = SimpleNamespace(eval_iters=iterations, eval_global_batch_size=4)
    state = SimpleNamespace(consumed_valid_samples=consumed)
    datasets = (Packs("train"), valid, None)
    train, read, test = loaders.build_train_valid_test_data_loaders(
        SimpleNamespace(validation=validation), state, lambda: datasets
    )
    assert (train, test) == (datasets[0], None)
    return read, state.consumed_valid_samples


def test_a_split_that_does_not_fill_its_batches_is_filled_up(loaders):
    read, _ = build(loaders, Packs("abcdeX"), iterations=2)
    assert [read[row] for row in range(len(read))] == [*"abcdeX", "X", "X"]


def test_the_next_evaluation_of_a_whole_split_begins_at_its_first_pack(loaders):
    """Also after rows of another number of ranks, in batches of another size."""
    for valid in ("abcdeX", "abcdefgX"):
        assert build(loaders, Packs(valid), iterations=2, consumed=3 * 8 + 6)[1] == 24


def test_an_evaluation_of_a_part_goes_on_where_the_last_one_ended(loaders):
    valid = Packs("abcdefghX")
    assert build(loaders, valid, iterations=2, consumed=30) == (valid, 30)


def test_without_a_valid_split_there_is_nothing_to_fill(loaders):
    assert build(loaders, None, iterations=0) == (None, 0)


def test_a_split_with_more_packs_than_an_evaluation_reads_is_left_as_it_is():
    packs = Packs("abcd")
    assert fill_up(packs, 3) is packs
    assert len(fill_up(packs, 4)) == 4
    assert [fill_up(packs, 5)[row] for row in range(5)] == [*"abcd", "d"]
    unknown = SimpleNamespace(validation=SimpleNamespace(eval_iters=None, eval_global_batch_size=None))
    assert rows_of_an_evaluation(unknown) == 0


def test_a_second_call_changes_nothing(loaders):
    once = loaders.build_train_valid_test_data_loaders
    evaluate_whole()
    assert loaders.build_train_valid_test_data_loaders is once
