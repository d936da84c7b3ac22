"""A checkpoint is not continued as another run than it is of."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.lineage import log_artifact
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.checkpoints.run_lock import hold
from nemotron.training.checks import continuation
from nemotron.training.checks.continuation import (
    check_batch_size,
    check_continuation,
    check_fixed_settings,
    check_layout,
    check_load,
    check_progress,
    check_same_run,
    check_same_stages,
    check_same_unit,
    describe_changes,
    describe_resume,
)
from nemotron.training.checks.machine import check_start_is_here
from nemotron.training.config import PeftConfig, RecipeConfig, RunConfig, SftConfig
from nemotron.training.counts import count_run
from nemotron.training.objective.loss import Schedule, Stage
from nemotron.training.plan import make_plan
from nemotron.training.prepared_data import PreparedData

BATCH = {"global_batch_size": 4}


def data(run_hash="a1"):
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data"), {"train": 8}, pack_size=512, run_hash=run_hash)


def config(output, model="tiny", peft=None, **checkpoint):
    recipe, run = RecipeConfig(hf_model=str(model)), RunConfig(output_dir=str(output))
    return SftConfig(run=run, recipe=recipe, peft=peft, checkpoint=checkpoint, train=dict(BATCH))


def claim(settings, prepared=None):
    with hold(find_run_folder(settings, prepared or data(), find_start(settings))):
        pass


def same_run(settings, prepared=None):
    return [*check_same_run(find_run_folder(settings, prepared or data(), find_start(settings)))]


def test_a_run_is_of_the_artifact_it_started_from_whatever_latest_means_by_now(tmp_path):
    def log(folder):
        (tmp_path / folder).mkdir()
        log_artifact(name="Model", type="model", path=tmp_path / folder, root=tmp_path / "artifacts")

    def of(model):
        settings = config(tmp_path / "run")
        settings.run.model, settings.run.artifacts = model, str(tmp_path / "artifacts")
        return settings

    log("one")
    claim(of("Model:latest"))
    write_checkpoint(tmp_path / "run/checkpoints", 40)
    assert same_run(of("Model:latest")) == []
    log("two")
    [problem] = same_run(of("Model:latest"))
    assert f"start {tmp_path}/one" in problem.message
    assert f"checkpoint.pretrained_checkpoint={tmp_path}/one" in problem.hint
    assert same_run(of("Model:v1")) == []
    assert same_run(config(tmp_path / "run", pretrained_checkpoint=f"{tmp_path}/one")) == []
    # Where the artifact is gone, the checkpoint is enough.
    assert same_run(of("Gone")) == []
    start, run = find_start(of("Gone")), find_run_folder(of("Gone"))
    assert [*check_start_is_here(start, run)] == []
    record = json.loads((tmp_path / "run/run.json").read_text())
    for folder in ("run", "run/checkpoints"):  # as earlier releases wrote it
        (tmp_path / folder / "run.json").write_text(json.dumps({**record, "start": "Model:latest"}))
    assert same_run(of("Model:latest")) == []


def test_the_same_run_may_continue(tmp_path):
    claim(config(tmp_path))
    write_checkpoint(tmp_path / "checkpoints", 40)
    assert same_run(config(tmp_path)) == []


def test_adapters_on_the_same_layers_are_the_same_in_any_order(tmp_path):
    def of(*modules):
        return config(tmp_path, peft=PeftConfig(target_modules=list(modules)))

    claim(of("in_proj", "linear_qkv"))
    write_checkpoint(tmp_path / "checkpoints", 40)
    assert same_run(of("linear_qkv", "in_proj")) == []
    [problem] = same_run(of("in_proj"))
    assert "on in_proj linear_qkv" in problem.message


@pytest.mark.parametrize(
    ("changed", "run_hash", "named"),
    [
        ({"model": "other"}, "a1", ("model tiny", "model other")),
        ({}, "b2", ("data a1 (SFTDataArtifact-sft:v1, /data)", "data b2 (SFTDataArtifact-sft:v1, /data)")),
        ({"peft": PeftConfig()}, "a1", ("adapters None", "adapters lora, dim 32")),
        ({"pretrained_checkpoint": "/other"}, "a1", ("start None", "start /other")),
    ],
)
def test_another_model_start_data_or_adapter_is_refused_by_name(tmp_path, changed, run_hash, named):
    claim(config(tmp_path))
    write_checkpoint(tmp_path / "checkpoints", 40)
    [problem] = same_run(config(tmp_path, **changed), data(run_hash))
    assert all(each in problem.message for each in named)
    assert "run.output_dir" in problem.hint


def test_all_that_differs_is_named(tmp_path):
    claim(config(tmp_path))
    write_checkpoint(tmp_path / "checkpoints", 40)
    assert len(same_run(config(tmp_path, model="other", peft=PeftConfig()), data("b2"))) == 3
    [problem] = same_run(config(tmp_path), replace(data(), pack_size=1024))
    assert "pack_size 512" in problem.message
    assert "pack_size 1024" in problem.message


def test_a_copied_model_folder_is_the_same_model(tmp_path):
    for place in ("here", "job"):
        (tmp_path / place / "tiny").mkdir(parents=True)
        (tmp_path / place / "tiny" / "config.json").write_text('{"hidden_size": 8}')
    claim(config(tmp_path / "run", tmp_path / "here/tiny"))
    write_checkpoint(tmp_path / "run/checkpoints", 40)
    assert same_run(config(tmp_path / "run", tmp_path / "job/tiny")) == []


def test_a_starting_checkpoint_may_be_named_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    run, whole = tmp_path / "run", str(tmp_path / "weights")
    claim(config(run, pretrained_checkpoint="weights"))
    write_checkpoint(run / "checkpoints", 40)
    assert same_run(config(run, pretrained_checkpoint=whole)) == []
    [problem] = same_run(config(run, pretrained_checkpoint="/other"))
    assert f"start {whole}" in problem.message


TRAINED = [{"iteration": 1, "loss_stage": "token"}, {"iteration": 2, "loss_stage": "sample"}]


def test_a_stage_that_would_have_been_another_is_refused():
    kept = Schedule((Stage("token", 0), Stage("sample", 1)))
    assert [*check_same_stages(TRAINED, kept, finished=2)] == []
    moved = Schedule((Stage("token", 0), Stage("sample", 2)))
    [problem] = check_same_stages(TRAINED, moved, finished=2)
    assert "Iteration 2" in problem.message
    assert "loss.stages" in problem.message
    # What a killed run wrote after its checkpoint is going to be repeated.
    assert [*check_same_stages(TRAINED, moved, finished=1)] == []


@pytest.mark.parametrize(("trained", "now", "refused"), [
    ({}, "sequence", False), ({}, "conversation", True),  # earlier releases had no choice
    ({"sample_unit": "conversation"}, "conversation", False), ({"sample_unit": "conversation"}, "sequence", True),
])  # fmt: skip
def test_another_unit_of_the_sample_average_is_refused(trained, now, refused):
    problems = [*check_same_unit([{**record, **trained} for record in TRAINED], now)]
    assert bool(problems) is refused
    assert all(f"loss.sample_unit is {now}" in problem.message for problem in problems)
    assert [*check_same_unit([], now)] == []


def test_a_batch_size_that_would_wait_forever_is_refused():
    records = [{"iteration": 19, "consumed_samples": 76}]
    assert [*check_batch_size(records, finished=19, packs=81, batch=4, train_iters=30)] == []
    [problem] = check_batch_size(records, finished=19, packs=81, batch=8, train_iters=30)
    assert "train.global_batch_size=8" in problem.message
    assert "divides 76" in problem.hint
    again = [{"iteration": 19, "consumed_samples": 72}, *records, {"iteration": 20, "consumed_samples": 80}]
    assert len([*check_batch_size(again, finished=19, packs=81, batch=8, train_iters=30)]) == 1  # the last counts


@pytest.mark.parametrize(("train_iters", "refused"), [(2, 0), (3, 1)])
def test_a_run_that_ends_before_it_would_wait_may_use_the_batch_size(train_iters, refused):
    """An epoch of 9 packs, of which 2 are trained: 4 more are a batch, and the last 3 are none."""
    records = [{"iteration": 1, "consumed_samples": 2}]
    problems = [*check_batch_size(records, finished=1, packs=9, batch=4, train_iters=train_iters)]
    assert ["at 6 packs" in problem.message for problem in problems] == [True] * refused


def test_a_batch_size_is_compared_where_it_is_known_how_much_was_read():
    for records in ([], [{"iteration": 18, "consumed_samples": 76}], [{"iteration": 19}]):
        assert [*check_batch_size(records, finished=19, packs=81, batch=8, train_iters=30)] == []
    records = [{"iteration": 19, "consumed_samples": 76}]
    assert [*check_batch_size(records, finished=19, packs=7, batch=8, train_iters=30)] == []  # refused elsewhere


def progress(settings, train_iters, prepared=None):
    run = find_run_folder(settings)
    settings.train["train_iters"] = train_iters
    packs = prepared or data()
    plan = make_plan(settings, count_run(settings, packs), packs, find_start(settings), run)
    return [*check_progress(settings, packs, run, plan)]


def test_a_folder_that_another_process_writes_is_refused_by_the_rank_that_locks_it(tmp_path, monkeypatch):
    """The other ranks find it locked by the first one."""
    run = replace(find_run_folder(config(tmp_path)), holder="process 7 on node1")
    [problem] = check_continuation(config(tmp_path), None, run, None)
    assert "process 7 on node1" in problem.message
    assert "run.output_dir" in problem.hint
    monkeypatch.setenv("RANK", "1")
    assert [*check_continuation(config(tmp_path), None, run, None)] == []


def test_what_was_trained_is_compared_where_data_and_plan_are_known(tmp_path):
    settings = config(tmp_path)
    settings.train["train_iters"] = 40
    write_checkpoint(tmp_path / "checkpoints", 20)
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 1, "loss_stage": "sample"}\n')
    run, packs = find_run_folder(settings), data()
    plan = make_plan(settings, count_run(settings, packs), packs, find_start(settings), run)
    [problem] = check_continuation(settings, packs, run, plan)
    assert "Iteration 1" in problem.message
    assert [*check_continuation(settings, None, run, plan), *check_continuation(settings, packs, run, None)] == []


def test_a_run_that_is_over_may_be_started_again(tmp_path):
    """Only what follows training is done again."""
    write_checkpoint(tmp_path / "checkpoints", 20)
    assert progress(config(tmp_path), 20) == []


def test_of_a_new_run_there_is_nothing_to_report(tmp_path):
    assert describe_resume(find_run_folder(config(tmp_path))) == []


def test_a_run_may_be_continued_elsewhere(tmp_path):
    claim(config(tmp_path / "one"))
    write_checkpoint(tmp_path / "one/checkpoints", 20)
    settings = config(tmp_path / "two", load=f"{tmp_path}/one/checkpoints", pretrained_checkpoint="/another/start")
    assert [*check_load(settings, find_run_folder(settings)), *same_run(settings), *progress(settings, 40)] == []


def test_what_is_continued_elsewhere_must_be_the_same_run_and_have_something_left_to_do(tmp_path):
    claim(config(tmp_path / "one"))
    write_checkpoint(tmp_path / "one/checkpoints", 20)
    settings = config(tmp_path / "two", load=f"{tmp_path}/one/checkpoints")
    [problem] = same_run(settings, data("b2"))
    assert re.search(f"{tmp_path}/one/checkpoints .*a1", problem.message)
    assert "checkpoint.pretrained_checkpoint" in problem.hint
    [problem] = progress(settings, 20)
    assert "train.train_iters" in problem.hint
    (tmp_path / "one/metrics.jsonl").write_text('{"iteration": 1, "loss_stage": "sample"}\n')
    [problem] = progress(settings, 40)
    assert "Iteration 1" in problem.message


def test_a_folder_without_a_checkpoint_cannot_be_continued(tmp_path):
    settings = config(tmp_path, load="/nowhere")
    [problem] = check_load(settings, find_run_folder(settings))
    assert "checkpoint.load is /nowhere" in problem.message


@pytest.mark.parametrize("saved", [0, 20])
def test_loading_from_where_a_run_saves_starts_it_and_resumes_it(tmp_path, monkeypatch, saved):
    """Megatron's own way to say it: --load and --save with the same folder."""
    monkeypatch.chdir(tmp_path)
    if saved:
        write_checkpoint(tmp_path / "kept", saved)
    for load, save in (("kept", str(tmp_path / "kept")), ("./kept/", "kept")):
        settings = config(tmp_path / "run", load=load, save=save)
        run = find_run_folder(settings)
        assert (run.load, run.finished, run.is_own) == (None, saved, True)
        assert [*check_load(settings, run)] == []
    # Without `save`, the default place.
    assert config(tmp_path / "run", load=f"{tmp_path}/run/checkpoints").other_run is None
    assert config(tmp_path / "run", load="kept").other_run == tmp_path / "kept"


def test_a_checkpoint_whose_folder_is_gone_is_refused_without_a_traceback(tmp_path):
    write_checkpoint(tmp_path / "checkpoints", 20).rename(tmp_path / "elsewhere")
    [problem] = check_load(config(tmp_path), find_run_folder(config(tmp_path)))
    assert f"{tmp_path}/checkpoints/iter_0000020" in problem.message


def test_a_damaged_checkpoint_is_passed_over_with_a_line(tmp_path):
    write_checkpoint(tmp_path / "checkpoints", 20)
    (write_checkpoint(tmp_path / "checkpoints", 40) / "__0_0.distcp").unlink()
    run = find_run_folder(config(tmp_path))
    assert [*check_load(config(tmp_path), run)] == []
    line, _ = describe_resume(run)
    assert f"{tmp_path}/checkpoints/iter_0000040" in line
    assert "__0_0.distcp" in line
    assert "iteration 20" in line


def test_a_damaged_checkpoint_without_an_older_one_is_refused(tmp_path):
    (write_checkpoint(tmp_path / "checkpoints", 40) / "__0_0.distcp").unlink()
    for settings in (config(tmp_path), config(tmp_path, save_interval=40)):  # a save that is cut short loses no shard
        [problem] = check_load(settings, find_run_folder(settings))
        assert "__0_0.distcp" in problem.message
        assert "run.output_dir" in problem.hint


@pytest.mark.parametrize(("iteration", "interval", "refused"), [(40, 40, 0), (40, 20, 1), (1, 1, 0), (1, None, 1)])
def test_only_a_first_save_that_was_cut_short_lets_a_run_start_again(tmp_path, iteration, interval, refused):
    """With an interval of 20 there was a checkpoint before that of iteration 40; without one, only the end is saved."""
    (write_checkpoint(tmp_path / "checkpoints", iteration) / "run_config.yaml").unlink()
    settings = config(tmp_path, save_interval=interval)
    assert len([*check_load(settings, find_run_folder(settings))]) == refused


def test_what_cannot_be_read_of_a_run_is_reported(tmp_path):
    write_checkpoint(tmp_path / "checkpoints", 40, {"peft": {"dim": 8}})
    (tmp_path / "run.json").touch()
    (tmp_path / "metrics.jsonl").write_bytes(b'{"iteration": 1}\n\0\0\0\n{"itera\n')
    metrics, record = describe_resume(find_run_folder(config(tmp_path)))
    assert f"{tmp_path}/metrics.jsonl has unreadable lines (2)" in metrics
    assert f"{tmp_path}/run.json" in record


@pytest.mark.parametrize("content", [None, ""])
def test_a_run_whose_metrics_are_gone_says_so(tmp_path, content):
    write_checkpoint(tmp_path / "checkpoints", 40)
    (tmp_path / "run.json").write_text('{"model": "tiny"}')
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    [line] = describe_resume(find_run_folder(config(tmp_path)))
    assert f"{tmp_path}/metrics.jsonl has no records" in line
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 1}\n')
    assert describe_resume(find_run_folder(config(tmp_path))) == []


def test_a_run_whose_metrics_lost_lines_names_the_iterations(tmp_path):
    write_checkpoint(tmp_path / "checkpoints", 6, {"logger": {"log_interval": 1}})
    (tmp_path / "run.json").write_text('{"model": "tiny"}')
    lines = [f'{{"iteration": {iteration}}}\n' for iteration in range(1, 7)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    assert describe_resume(find_run_folder(config(tmp_path))) == []
    (tmp_path / "metrics.jsonl").write_text("".join([*lines[:2], lines[4]]))
    [line] = describe_resume(find_run_folder(config(tmp_path)))
    assert f"{tmp_path}/metrics.jsonl" in line
    assert "iterations 3 to 4, 6;" in line


SAVED = {
    "optimizer": {"lr": 0.003, "clip_grad": 1.0},
    "train": {"global_batch_size": 4},
    "model": {"mtp_num_layers": 2},
}


def changed(output, **sections):
    settings = SftConfig(run=RunConfig(output_dir=str(output)), **sections)
    return settings, find_run_folder(settings)


def test_settings_that_change_in_the_middle_of_a_run_are_reported(tmp_path):
    write_checkpoint(tmp_path / "checkpoints", 20, SAVED)
    assert describe_changes(*changed(tmp_path, optimizer={"lr": 3e-3}, train={"global_batch_size": 4})) == []
    settings = {"optimizer": {"lr": 3e-3, "clip_grad": 0.5}, "train": {"global_batch_size": 8}}
    batch, clip = describe_changes(*changed(tmp_path, **settings))
    assert re.match(r"train\.global_batch_size is 8 .*\b4\b", batch)
    assert re.match(r"optimizer\.clip_grad is 0\.5 .*\b1\.0\b", clip)


ONE_RANK = {"tensor_model_parallel_size": 1, "expert_model_parallel_size": 1}


@pytest.mark.parametrize("size", ["tensor_model_parallel_size", "expert_model_parallel_size"])
def test_another_layout_than_the_optimizer_was_saved_in_is_refused(tmp_path, size):
    write_checkpoint(tmp_path / "checkpoints", 20, {"model": ONE_RANK})
    assert [*check_layout(*changed(tmp_path, model=ONE_RANK))] == []
    [problem] = check_layout(*changed(tmp_path, model={**ONE_RANK, size: 2}))
    assert f"model.{size} is 2" in problem.message
    assert f"model.{size}=1" in problem.hint


@pytest.mark.parametrize(("divided", "reshardable"), [(True, True), (True, False), (False, True)])
def test_what_megatron_reshards_may_continue_in_another_layout(tmp_path, divided, reshardable):
    """It reshards an optimizer that was divided among ranks, and saved in the form for that."""
    saved = {
        "ddp": {"use_distributed_optimizer": divided},
        "checkpoint": {"dist_ckpt_optim_fully_reshardable": reshardable},
    }
    write_checkpoint(tmp_path / "checkpoints", 20, {"model": ONE_RANK, **saved})
    problems = [*check_layout(*changed(tmp_path, model={**ONE_RANK, "tensor_model_parallel_size": 2}))]
    assert bool(problems) != (divided and reshardable)


def test_a_setting_that_is_off_in_another_word_has_not_changed(tmp_path):
    """null and 0 both turn multi-token prediction off."""
    write_checkpoint(tmp_path / "checkpoints", 20, {"model": {"mtp_num_layers": None}})
    assert [*check_fixed_settings(*changed(tmp_path, model={"mtp_num_layers": 0}))] == []


@pytest.mark.parametrize("sections", [{"optimizer": {"lr": 1e-4}}, {"model": {"mtp_num_layers": None}}])
def test_settings_that_cannot_change_in_the_middle_of_a_run_are_refused(tmp_path, sections):
    write_checkpoint(tmp_path / "checkpoints", 20, SAVED)
    [problem] = check_fixed_settings(*changed(tmp_path, **sections))
    [(section, values)] = sections.items()
    assert f"{section}.{next(iter(values))}" in problem.message
    assert f"checkpoint.pretrained_checkpoint={tmp_path}/checkpoints" in problem.hint


def went_on(key, before, now) -> Any:
    """A run that was saved with a setting at `before`, and a config that sets it to `now`."""
    section, name = key.split(".")
    run = SimpleNamespace(
        saved={section: {name: before}}, resume_from=Path("/one"), is_own=True, finished=4, newest="x"
    )
    settings: dict[str, Any] = {section: {name: now}}
    return SftConfig(**settings), run


@pytest.mark.parametrize(
    "key",
    [
        *("optimizer.lr", "optimizer.min_lr", "scheduler.start_weight_decay", "scheduler.end_weight_decay"),
        "model.mtp_num_layers",
    ],
)
def test_what_megatron_knows_groups_of_weights_by_stays(key):
    [problem] = check_fixed_settings(*went_on(key, 1, 2))
    assert f"{key} is 2" in problem.message
    assert "with 1," in problem.message
    assert [*check_fixed_settings(*went_on(key, 1, 1))] == []


SIZES = ("tensor_model", "pipeline_model", "expert_model", "expert_tensor")


@pytest.mark.parametrize("key", [f"model.{size}_parallel_size" for size in SIZES])
def test_an_optimizers_state_loads_in_its_own_layout(key):
    [problem] = check_layout(*went_on(key, 1, 2))
    assert f"{key} is 2" in problem.message
    assert f"saved with {key}=1," in problem.message
    assert [*check_layout(*went_on(key, 1, 1))] == []
    assert [*check_layout(*went_on("model.context_parallel_size", 1, 2))] == []


@pytest.mark.parametrize(
    "key",
    [
        *("train.global_batch_size", "scheduler.lr_decay_style", "model.mtp_loss_scaling_factor"),
        *("optimizer.adam_beta1", "optimizer.adam_beta2", "optimizer.adam_eps", "optimizer.clip_grad"),
    ],
)
def test_what_may_change_in_the_middle_of_a_run_is_said(key):
    assert describe_changes(*went_on(key, 1, 2)) == [f"{key} is 2 from now on; it was 1."]
    assert describe_changes(*went_on(key, 1, 1)) == []


def test_a_run_with_a_fully_reshardable_optimizer_goes_on_in_any_layout():
    settings, run = went_on("model.tensor_model_parallel_size", 1, 2)
    run.saved |= {"ddp": {"use_distributed_optimizer": True}, "checkpoint": {"dist_ckpt_optim_fully_reshardable": True}}
    assert [*check_layout(settings, run)] == []
    run.saved["ddp"] = {"use_distributed_optimizer": False}
    assert [*check_layout(settings, run)] != []
    run.saved["ddp"] = None
    assert [*check_layout(settings, run)] != []
    settings.checkpoint["load_optim"] = False
    assert [*check_layout(settings, run)] == []


@pytest.mark.parametrize(("train_iters", "problems"), [(40, 1), (20, 0)])
def test_iterations_after_the_end_of_a_shorter_run_are_not_compared(tmp_path, train_iters, problems):
    settings = config(tmp_path)
    write_checkpoint(tmp_path / "checkpoints", 40)
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 30, "loss_stage": "sample"}\n')
    found = [problem for problem in progress(settings, train_iters) if "loss.stages" in problem.message]
    assert len(found) == problems


def found(**facts: Any) -> Any:
    """What was found in a run folder, as far as a check reads it."""
    own = SimpleNamespace(skipped=facts.pop("own_skipped", []))
    known = {"finished": 0, "is_own": True, "metrics": [{"iteration": 1}], "record": {"model": "tiny"}, "skipped": []}
    places = {"output": Path("/out"), "resume_from": Path("/other"), "unreadable": 0, "saved": {}, "identity": {}}
    return SimpleNamespace(**known | places | {"own": own} | facts)


def test_a_resumed_run_is_asked_all_that_it_may_not_change(monkeypatch):
    checks = ("check_same_unit", "check_batch_size", "check_fixed_settings", "check_layout", "check_same_stages")
    for name in checks:
        monkeypatch.setattr(continuation, name, lambda *given, name=name: [name])
    plan: Any = SimpleNamespace(train_iters=9, schedule=None)
    assert [*check_progress(config("out"), data(), found(finished=3), plan)] == [*checks]
    assert [*check_progress(config("out"), data(), found(finished=0), plan)] == []


def test_each_checkpoint_that_was_passed_over_is_named_once():
    passed_over = {"skipped": ["a", "b"], "own_skipped": ["b", "c"]}
    start = "Starting from the beginning."
    assert describe_resume(found(**passed_over)) == [f"{each}. {start}" for each in "abc"]
    goes_on = "Continuing from iteration 1,200."
    assert describe_resume(found(finished=1200, is_own=False, **passed_over)) == [f"{e}. {goes_on}" for e in "abc"]


@pytest.mark.parametrize(
    ("gaps", "named"),
    [
        ([(1, 1)], "1"),
        ([(1, 1), (3, 5), (7000, 8000)], "1, 3 to 5, 7,000 to 8,000"),
        ([(1, 1), (3, 5), (7, 8), (9, 9)], "1, 3 to 5, 7 to 8, ..."),
    ],
)
def test_the_first_three_gaps_are_named(monkeypatch, gaps, named):
    monkeypatch.setattr(continuation, "_find_gaps", lambda run: gaps)
    [line] = describe_resume(found(finished=9000))
    assert f"no records of iterations {named}; its" in line


@pytest.mark.parametrize("interval", [None, 0, "1"])
def test_without_an_interval_no_gaps_are_known(interval):
    assert describe_resume(found(finished=9, saved={"logger": {"log_interval": interval}})) == []


def test_what_differs_is_named_with_where_it_came_from():
    ours = {"model": "b", "data": "2", "data_from": "v2, /new", "start": None, "start_named": None}
    [model, prepared] = check_same_run(found(identity=ours, record={"model": "a", "data": "1"}))
    assert "/out has a run with model a, but this run has model b." in model.message
    assert "data 1, but this run has data 2 (v2, /new)." in prepared.message
    assert "pretrained_checkpoint" not in model.hint
    [elsewhere] = check_same_run(found(identity=ours, record={"data": "1", "data_from": "v1, /old"}, is_own=False))
    assert "/other has a run with data 1 (v1, /old), but" in elsewhere.message
    assert "instead of checkpoint.load" in elsewhere.hint


def test_a_batch_of_all_packs_may_wait_too():
    [problem] = check_batch_size([{"iteration": 1, "consumed_samples": 3}], 1, 4, 4, 9)
    assert "an epoch of 4" in problem.message
    assert [*check_batch_size([{"iteration": 1, "consumed_samples": 3}], 1, 3, 4, 9)] == []  # refused elsewhere
