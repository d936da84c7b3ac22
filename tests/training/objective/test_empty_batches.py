"""A global batch without a supervised token changes nothing. Optimizer, routers and groups are stand-ins."""

from types import SimpleNamespace

import pytest
import torch
from tests.stand_ins import put_modules
from tests.training.objective.test_forward_step import BOTH_STAGES, FIRST, run

from nemotron.training.objective.empty_batches import EmptyBatches, skip_empty_batches
from nemotron.training.objective.forward_step import TwoStageStep

pytestmark = pytest.mark.usefixtures("megatron")

NOTHING = [[(5.0, False), (1.0, False)], [(2.0, False)]]
"""A pack in which nothing is supervised."""


class Optimizer:
    """Adds 1 to its weight, whatever the gradient."""

    def __init__(self):
        self.weight = torch.zeros(1)

    def step(self):
        self.weight += 1
        return True, 3.7, None


def expert_layer(bias):
    layer = torch.nn.Module()
    layer.register_buffer("expert_bias", None if bias is None else torch.tensor(bias))
    return layer


class Pipeline:
    """Stages of which the last has seen `elsewhere` supervised tokens."""

    def __init__(self, elsewhere):
        self.elsewhere, self.asked = elsewhere, 0

    def size(self):
        return 2


@pytest.fixture
def all_ranks(monkeypatch):
    """What the other data-parallel ranks have, tokens and conversations; and a sum over pipeline stages."""
    others = torch.zeros(2, dtype=torch.float64)

    def all_reduce(tensor, op=None, group=None):
        if isinstance(group, Pipeline):
            assert op == torch.distributed.ReduceOp.MAX
            assert tensor.dtype == torch.float64  # of every stage, also of one that has counted nothing
            group.asked += 1
            tensor.clamp_(min=group.elsewhere)
        else:
            tensor += others

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    return others


@pytest.fixture
def training():
    """training(packs, finished=n) is one step as Megatron-Bridge takes it; it leaves what there is to look at."""
    step, optimizer = TwoStageStep(BOTH_STAGES), Optimizer()
    routers = [expert_layer([0.5, -0.5]), expert_layer(None), torch.nn.Linear(1, 1)]
    empty = EmptyBatches(step)

    def begin(pipeline=None):
        empty.begin(optimizer, [torch.nn.ModuleList(routers)], pipeline)

    def take(model, packs, finished=0):
        empty.begin_iteration(finished + 1)
        if packs:
            run(step, model, packs, finished)
        routers[0].expert_bias += 0.25  # Megatron updates them at the end of the backward pass
        return optimizer.step()

    return SimpleNamespace(step=step, optimizer=optimizer, router=routers[0], begin=begin, take=take)


@pytest.mark.parametrize("finished", [0, 10])
def test_a_batch_without_targets_changes_no_weight_and_no_bias_in_either_stage(
    training, all_ranks, make_model, finished, capsys
):
    training.begin()
    assert training.take(make_model(), [NOTHING, NOTHING], finished) == (False, None, None)
    assert training.optimizer.weight == 0
    assert training.router.expert_bias.tolist() == [0.5, -0.5]
    assert training.step.skipped == 1
    assert f"Iteration {finished + 1}: " in capsys.readouterr().out


def test_every_other_batch_is_trained_on(training, all_ranks, make_model):
    training.begin()
    model = make_model()
    for packs, taken in (([FIRST], True), ([NOTHING], False), ([NOTHING, FIRST], True)):
        assert training.take(model, packs)[0] is taken
    assert training.optimizer.weight == 2
    assert training.router.expert_bias.tolist() == [1.0, 0.0]
    assert training.step.skipped == 1


def test_a_rank_without_targets_trains_on_those_of_the_others(training, all_ranks, make_model):
    training.begin()
    all_ranks += torch.tensor([3, 1])
    assert training.take(make_model(), [NOTHING]) == (True, 3.7, None)


@pytest.mark.parametrize(("elsewhere", "taken"), [(0, False), (7, True)])
def test_a_pipeline_stage_without_data_follows_those_that_have_it(training, all_ranks, make_model, elsewhere, taken):
    training.begin(Pipeline(elsewhere))
    assert training.take(make_model(), [])[0] is taken


def test_a_pipeline_stage_with_data_asks_like_the_others(training, all_ranks, make_model):
    """They would wait for it otherwise."""
    pipeline = Pipeline(0)
    training.begin(pipeline)
    assert training.take(make_model(), [FIRST])[0] is True
    assert pipeline.asked == 1


def test_what_other_stages_have_is_not_added_to_the_totals_of_the_loss(training, all_ranks, make_model):
    training.begin(Pipeline(elsewhere=7))
    training.take(make_model(), [FIRST])
    assert training.step.totals.supervised_tokens == 3


def test_only_the_first_rank_says_that_a_batch_is_skipped(training, all_ranks, make_model, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    training.begin()
    assert training.take(make_model(), [NOTHING])[0] is False
    assert capsys.readouterr().out == ""


def test_a_rank_that_has_targets_looks_at_no_sum_of_the_gpu(training, all_ranks, make_model, monkeypatch):
    """To look at a number of the GPU is to wait for all that it has to do."""
    training.begin()
    training.take(make_model(), [FIRST])

    def forbidden(*arguments, **options):
        raise AssertionError("the totals were looked at")

    monkeypatch.setattr(torch, "as_tensor", forbidden)
    assert training.optimizer.step()[0]


def test_the_callback_begins_with_the_run_and_with_every_iteration(monkeypatch):
    """Megatron-Bridge counts the finished iterations."""
    begun = []
    put_modules(monkeypatch, {"megatron.bridge.training.callbacks": {"Callback": object, "CallbackContext": object}})
    monkeypatch.setattr(EmptyBatches, "begin", lambda self, *arguments: begun.append(arguments))
    monkeypatch.setattr(EmptyBatches, "begin_iteration", lambda self, iteration: begun.append(iteration))
    group = SimpleNamespace(pp="the pipeline")
    pg_utils = {"get_pg_collection": lambda model: group if model == ["chunk"] else None}
    put_modules(monkeypatch, {"megatron.bridge.training.utils.pg_utils": pg_utils})
    callback = skip_empty_batches(TwoStageStep(BOTH_STAGES))
    state = SimpleNamespace(train_state=SimpleNamespace(step=6))
    context = SimpleNamespace(optimizer="optimizer", model=["chunk"], state=state)
    callback.on_train_start(context)
    callback.on_train_step_start(context)
    assert begun == [("optimizer", ["chunk"], "the pipeline"), 7]
