"""What one forward pass adds to Megatron-Core's running sums, and what an evaluation must leave as it was."""

from types import SimpleNamespace

import pytest
import torch

from nemotron.training.objective.mtp import measure_mtp

pytestmark = pytest.mark.usefixtures("megatron")

LOSSES, MASK = torch.tensor([[2.0, 4.0, 90.0]]), torch.tensor([[1.0, 1.0, 0.0]])


def sums(tracker):
    return {name: values.tolist() for name, values in tracker.items()}


def test_a_measure_is_what_this_pass_added(make_model, tracker):
    model = make_model(depths=2)
    model(LOSSES, MASK)
    before = sums(tracker)
    with measure_mtp(model) as measure:
        model(LOSSES, MASK)
    assert measure.losses.tolist() == [3, 6]
    assert measure.correct.tolist() == [1, 2]
    assert measure.targets.tolist() == [10, 20]
    # While training, the sums are Megatron's to log.
    assert sums(tracker) == {name: [2 * value for value in values] for name, values in before.items()}


def test_the_first_pass_is_measured_from_nothing(make_model):
    model = make_model(depths=1)
    with measure_mtp(model) as measure:
        model(LOSSES, MASK)
    assert measure.losses.tolist() == [3]


def test_an_evaluation_is_measured_but_not_in_the_training_log(make_model, tracker):
    model = make_model(depths=2)
    model(LOSSES, MASK)
    before = sums(tracker)
    model.eval()
    with measure_mtp(model) as measure:
        model(LOSSES, MASK)
    assert measure.losses.tolist() == [3, 6]
    assert sums(tracker) == before


def test_an_evaluation_before_any_training_leaves_sums_of_zero(make_model, tracker):
    model = make_model(depths=2).eval()
    with measure_mtp(model) as measure:
        model(LOSSES, MASK)
    assert measure.targets.tolist() == [10, 20]
    assert all(values == [0, 0] for values in sums(tracker).values())


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(make_model, training):
    model = make_model(depths=1).train(training)
    with measure_mtp(model):
        assert model.training
    assert model.training is training
    with pytest.raises(ZeroDivisionError), measure_mtp(model):
        raise ZeroDivisionError
    assert model.training is training


def test_the_wrapped_model_is_the_one_that_is_asked(make_model):
    """DistributedDataParallel and Float16Module have a flag of their own, which Megatron does not read."""
    model = make_model(depths=1).eval()
    with measure_mtp(SimpleNamespace(module=model)) as measure:
        model(LOSSES, MASK)
    assert measure.losses.tolist() == [3]


def test_a_model_without_mtp_has_no_measure(make_model):
    with measure_mtp(make_model()) as measure:
        pass
    assert (measure.losses, measure.correct, measure.targets) == (None, None, None)


def test_a_line_that_counts_no_acceptance_gives_losses_alone(make_model, line, tracker, monkeypatch):
    monkeypatch.setattr(line, "MTP_SUMS", ("loss_values",), raising=False)
    model = make_model(depths=1)
    with measure_mtp(model) as measure:
        model(LOSSES, MASK)
    assert measure.losses.tolist() == [3]
    assert (measure.correct, measure.targets) == (None, None)
