"""metrics.jsonl and the evaluations' files, written through the callbacks that Megatron-Bridge calls."""

import importlib
import json
import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from nemotron.training import bridge
from nemotron.training.objective.loss import BatchTotals

MODULE = "nemotron.training.reporting.metrics"


@pytest.fixture
def metrics(monkeypatch):
    """The module, with a stand-in for the base class of Megatron-Bridge's callbacks, on the last of two ranks."""
    callbacks = ModuleType("callbacks")
    vars(callbacks).update(Callback=object, CallbackContext=object)
    monkeypatch.setitem(sys.modules, "megatron.bridge.training.callbacks", callbacks)
    monkeypatch.setitem(sys.modules, MODULE, ModuleType("put back when the test ends"))
    del sys.modules[MODULE]
    module = importlib.import_module(MODULE)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "barrier", lambda: None)
    line = SimpleNamespace(count_evaluated_packs=lambda config, packs: packs - 1)
    monkeypatch.setattr(bridge, "installed", lambda: line)
    return module


@pytest.fixture
def writer(metrics, tmp_path):
    """A MetricsWriter into tmp_path; `writer.told` has what it reported."""
    totals = BatchTotals(torch.tensor(30.0), torch.tensor(4.0))
    step = SimpleNamespace(average="sample", sample_unit="sequence", totals=totals, skipped=0)
    told = []
    made = metrics.MetricsWriter(tmp_path, 8, step, lambda kind, record: told.append((kind, record)))
    made.told = told
    return made


def context(finished, train_iters=10, log_interval=1, **values):
    train = SimpleNamespace(train_iters=train_iters, global_batch_size=4)
    config = SimpleNamespace(train=train, logger=SimpleNamespace(log_interval=log_interval))
    train_state = SimpleNamespace(step=finished, consumed_train_samples=4 * finished)
    defaults = {"loss_dict": None, "total_loss_dict": None, "grad_norm": None, "optimizer": None}
    return SimpleNamespace(state=SimpleNamespace(cfg=config, train_state=train_state), **{**defaults, **values})


def train(writer, iterations, **options):
    """Call what Megatron-Bridge calls around each iteration; it counts one as finished after `on_train_step_end`."""
    for iteration in iterations:
        at = context(iteration - 1, loss_dict={"token loss": torch.tensor(float(iteration))}, **options)
        writer.on_train_step_start(at)
        writer.on_train_step_end(at)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def iterations_in(path):
    return [record["iteration"] for record in records(path)]


def test_a_record_says_what_an_iteration_did(writer, tmp_path):
    losses = {"lm loss": torch.tensor(1.5), "mtp depth 1 loss": torch.tensor(2.5), "token loss": torch.tensor(3.5)}
    groups = SimpleNamespace(param_groups=[{}, {"lr": 1e-5}, {"lr": 9.0}])
    at = context(6, loss_dict=losses, grad_norm=0.25, optimizer=groups)
    writer.on_train_step_start(at)
    assert writer.iteration == 7
    groups.param_groups[1]["lr"] = 2e-5  # the scheduler moves on before the iteration ends
    writer.on_train_step_end(at)
    [record] = records(tmp_path / "metrics.jsonl")
    assert record.pop("seconds") >= 0
    assert record == {
        "iteration": 7,
        "consumed_samples": 28,
        "loss_stage": "sample",
        "sample_unit": "sequence",
        "lm_loss": 1.5,
        "mtp_1_loss": 2.5,
        "token_loss": 3.5,
        "lr": 1e-5,
        "grad_norm": 0.25,
        "supervised_tokens": 30,
        "conversations": 4,
        "skipped_batches": 0,
    }
    assert [(kind, told["iteration"]) for kind, told in writer.told] == [("train", 7)]


def test_an_iteration_takes_from_its_start_to_its_record(writer, tmp_path, metrics, monkeypatch):
    moments = iter([10.0, 12.34567])
    monkeypatch.setattr(metrics, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    train(writer, [1])
    [record] = records(tmp_path / "metrics.jsonl")
    assert record["seconds"] == 2.3457
    assert (record["grad_norm"], record["lr"]) == (None, 0.0)  # of a rank that has no optimizer


def test_parts_of_conversations_have_six_digits(writer, tmp_path):
    for samples in (7 / 3, 4.0):
        writer._step.totals = BatchTotals(30, samples)
        train(writer, [1])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    parts, whole = (line.partition('"conversations": ')[2] for line in lines)
    assert parts.startswith("2.333333,")
    assert whole.startswith("4,")


def test_a_resumed_run_counts_its_skipped_batches_on(writer, tmp_path):
    for skipped in (1, 3):
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"iteration": skipped, "skipped_batches": skipped}) + "\n")
    writer.on_train_start(context(3))
    writer._step.skipped = 2
    train(writer, [4])
    assert records(tmp_path / "metrics.jsonl")[-1]["skipped_batches"] == 5
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 1}\n')  # of a release that did not count them
    writer.on_train_start(context(1))
    train(writer, [2])
    assert records(tmp_path / "metrics.jsonl")[-1]["skipped_batches"] == 2


def test_all_ranks_wait_until_an_evaluation_is_written(writer, tmp_path, monkeypatch):
    """Another rank reads the file when training ends."""
    written = []
    monkeypatch.setattr(torch.distributed, "barrier", lambda: written.append((tmp_path / "validation.jsonl").exists()))
    for rank in (1, 0):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        writer.on_eval_end(context(4, total_loss_dict={"token loss": 1.0}))
        writer.write_evaluation("test", 4, {"token loss": 1.0}, 5)
    assert written == [True] * 4


@pytest.mark.parametrize(("interval", "logged"), [(1, [*range(1, 11)]), (3, [3, 6, 9, 10]), (5, [5, 10]), (99, [10])])
def test_every_nth_iteration_is_logged_and_always_the_last(writer, tmp_path, interval, logged):
    train(writer, range(1, 11), log_interval=interval)
    assert iterations_in(tmp_path / "metrics.jsonl") == logged


def test_a_number_that_json_lacks_is_null(writer, tmp_path):
    losses = {"token loss": torch.tensor(math.nan), "sample loss": torch.tensor(math.inf), "lm loss": torch.tensor(1.0)}
    at = context(0, loss_dict=losses)
    writer.on_train_step_start(at)
    writer.on_train_step_end(at)
    [line] = (tmp_path / "metrics.jsonl").read_text().splitlines()
    [record] = [json.loads(line, parse_constant=pytest.fail)]
    assert (record["token_loss"], record["sample_loss"], record["lm_loss"]) == (None, None, 1.0)


def test_the_last_rank_alone_writes(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    train(writer, [1])
    writer.on_eval_end(context(1, total_loss_dict={"token loss": 1.0}))
    assert not list(tmp_path.iterdir())
    assert not writer.told


def test_a_resumed_run_drops_the_records_that_it_repeats(writer, tmp_path):
    train(writer, range(1, 7))
    for finished in (2, 4, 6):
        writer.on_eval_end(context(finished, total_loss_dict={"token loss": 1.0}))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 7, "tok')  # the run was killed here
    writer.on_train_start(context(4))
    assert iterations_in(tmp_path / "metrics.jsonl") == [1, 2, 3, 4]
    assert iterations_in(tmp_path / "validation.jsonl") == [2, 4]


def test_an_evaluation_says_over_which_packs_and_leaves_the_stages_loss_out(writer, tmp_path):
    losses = {"lm loss": torch.tensor(1.0), "token loss": torch.tensor(2.0), "mtp depth 2 acceptance": 0.5}
    writer.on_eval_end(context(3, total_loss_dict=losses))
    [record] = records(tmp_path / "validation.jsonl")
    assert record == {"iteration": 3, "packs": 7, "token_loss": 2.0, "mtp_2_acceptance": 0.5}
    writer.write_evaluation("test", 3, losses, 5)
    assert records(tmp_path / "test.jsonl")[0]["packs"] == 5
    assert [kind for kind, _ in writer.told] == ["valid", "test"]


def test_the_evaluation_at_the_end_is_not_a_second_record(writer, tmp_path):
    """Megatron evaluates when training ends, also right after a scheduled evaluation and after resuming there."""
    (tmp_path / "validation.jsonl").write_text('{"iteration": 4}\n')
    writer.on_train_start(context(4))
    writer.on_eval_end(context(4, total_loss_dict={"token loss": 1.0}))
    assert iterations_in(tmp_path / "validation.jsonl") == [4]
    (tmp_path / "validation.jsonl").unlink()
    writer.on_train_start(context(4))
    writer.on_eval_end(context(4, total_loss_dict={"token loss": 1.0}))
    writer.on_eval_end(context(4, total_loss_dict={"token loss": 1.0}))
    assert iterations_in(tmp_path / "validation.jsonl") == [4]


def test_an_evaluation_of_nothing_is_no_record(writer, tmp_path):
    writer.on_eval_end(context(4, total_loss_dict={}))
    assert not (tmp_path / "validation.jsonl").exists()


def test_every_field_of_a_record_is_described(writer, monkeypatch):
    from nemotron.training.reporting import fields

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 61_200_000_000)
    names = ("lm loss", "token loss", "sample loss", "mtp depth 1 loss", "mtp depth 1 acceptance")
    at = context(0, loss_dict={name: torch.tensor(1.0) for name in names})
    writer.on_train_step_start(at)
    writer.on_train_step_end(at)
    writer.write_evaluation("test", 1, at.loss_dict, 3)
    [iteration, evaluation] = [record for _, record in writer.told]
    assert {name.replace("mtp_1", "mtp_D") for name in iteration} == set(fields.ITERATION)
    assert iteration["peak_memory_gb"] == 61.2
    assert {name.replace("mtp_1", "mtp_D") for name in evaluation} == set(fields.EVALUATION)
