"""Continuing a run in the same folder."""

import json
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.checkpoints.reader import find_checkpoint, hf_model_of, run_of
from nemotron.training.checkpoints.run_folder import claim_run, finished_iterations, read_records, resume_folder
from nemotron.training.checks.continuation import (
    changed_settings,
    check_batch_size,
    check_continuation,
    check_same_run,
    check_same_stages,
)
from nemotron.training.config import PeftConfig, RecipeConfig, RunConfig, SftConfig
from nemotron.training.objective.loss import Schedule, Stage
from nemotron.training.prepared_data import PreparedData


def data(run_hash="a1"):
    return PreparedData(Path("/data"), {"train": 8}, {"run_hash": run_hash, "pack_size": 512}, "SFTDataArtifact-sft:v1")


def config(model="tiny", peft=None):
    return SftConfig(recipe=RecipeConfig(hf_model=model), peft=peft)


def write_checkpoint(output, iteration, run_config="model: {}"):
    folder = output / "checkpoints" / f"iter_{iteration:07d}"
    folder.mkdir(parents=True)
    (folder / "run_config.yaml").write_text(run_config)
    (output / "checkpoints" / "latest_checkpointed_iteration.txt").write_text(str(iteration))
    return folder


def test_the_tracker_file_says_how_far_a_run_came(tmp_path):
    assert finished_iterations(tmp_path / "checkpoints") == 0
    write_checkpoint(tmp_path, 40)
    assert finished_iterations(tmp_path / "checkpoints") == 40


def test_the_same_run_may_continue(tmp_path):
    claim_run(tmp_path, config(), data())
    write_checkpoint(tmp_path, 40)
    check_same_run(tmp_path, config(), data())


@pytest.mark.parametrize(
    ("changed_config", "changed_data", "named"),
    [
        (config(model="other"), data(), "model tiny, but this one has model other"),
        (config(), data("b2"), "data a1 (SFTDataArtifact-sft:v1, /data), but this one has data b2 (SFTDataArtifact"),
        (config(peft=PeftConfig()), data(), "adapters None, but this one has adapters lora, dim 32"),
    ],
)
def test_another_model_data_or_adapter_is_refused_by_name(tmp_path, changed_config, changed_data, named):
    claim_run(tmp_path, config(), data())
    write_checkpoint(tmp_path, 40)
    with pytest.raises(UserError) as error:
        check_same_run(tmp_path, changed_config, changed_data)
    assert named in error.value.message


def test_a_folder_without_a_checkpoint_is_claimed_anew(tmp_path):
    claim_run(tmp_path, config(), data("a1"))
    check_same_run(tmp_path, config(), data("b2"))
    claim_run(tmp_path, config(), data("b2"))
    assert json.loads((tmp_path / "run.json").read_text())["data"] == "b2"


def test_records_of_a_file_that_is_not_there(tmp_path):
    assert read_records(tmp_path / "metrics.jsonl") == []


def test_a_last_line_that_is_still_being_written_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 1}\n{"itera')
    assert read_records(tmp_path / "metrics.jsonl") == [{"iteration": 1}]


def test_a_copied_model_folder_is_the_same_model(tmp_path):
    for place in ("here", "job"):
        (tmp_path / place / "tiny").mkdir(parents=True)
        (tmp_path / place / "tiny" / "config.json").write_text('{"hidden_size": 8}')
    claim_run(tmp_path / "run", config(model=str(tmp_path / "here/tiny")), data())
    write_checkpoint(tmp_path / "run", 40)
    check_same_run(tmp_path / "run", config(model=str(tmp_path / "job/tiny")), data())


def test_another_start_is_refused(tmp_path):
    started = SftConfig(recipe=RecipeConfig(hf_model="tiny"), checkpoint={"pretrained_checkpoint": "/a"})
    claim_run(tmp_path, started, data())
    write_checkpoint(tmp_path, 40)
    with pytest.raises(UserError, match="start /a, but this one has start None"):
        check_same_run(tmp_path, config(), data())


def test_a_starting_checkpoint_may_be_named_by_any_path(tmp_path, monkeypatch):
    def started(path):
        return SftConfig(recipe=RecipeConfig(hf_model="tiny"), checkpoint={"pretrained_checkpoint": str(path)})

    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    run = tmp_path / "run"
    claim_run(run, started("weights"), data())
    write_checkpoint(run, 40)
    check_same_run(run, started(tmp_path / "weights"), data())
    # Earlier releases recorded the path as it was typed.
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "start": "weights"}))
    check_same_run(run, started(tmp_path / "weights"), data())
    with pytest.raises(UserError, match=f"start {tmp_path}/weights, but this one has start /other"):
        check_same_run(run, started("/other"), data())


TRAINED = [{"iteration": 1, "loss_stage": "token"}, {"iteration": 2, "loss_stage": "sample"}]


def test_a_stage_that_would_have_been_another_is_refused():
    check_same_stages(TRAINED, Schedule((Stage("token", 0), Stage("sample", 1))), finished=2)
    moved = Schedule((Stage("token", 0), Stage("sample", 2)))
    with pytest.raises(UserError, match="Iteration 2 was trained on the sample average"):
        check_same_stages(TRAINED, moved, finished=2)
    # What a killed run wrote after its checkpoint is going to be repeated.
    check_same_stages(TRAINED, moved, finished=1)


def loading(output, other, run_hash="a1"):
    """A run in `output` that continues the checkpoints of the run in `other`."""
    settings = SftConfig(
        run=RunConfig(output_dir=str(output)), recipe=RecipeConfig("tiny"), checkpoint={"load": f"{other}/checkpoints"}
    )
    return settings, data(run_hash)


def test_a_batch_size_that_would_wait_forever_is_refused():
    records = [{"iteration": 19, "consumed_samples": 76}]
    check_batch_size(records, finished=19, packs=81, batch=4, train_iters=30)
    with pytest.raises(UserError, match="global_batch_size=8 cannot go on from the 76 packs") as error:
        check_batch_size(records, finished=19, packs=81, batch=8, train_iters=30)
    assert "divides 76" in error.value.hint


def test_a_run_is_continued_elsewhere_until_it_has_a_checkpoint_of_its_own(tmp_path):
    claim_run(tmp_path / "one", config(), data())
    write_checkpoint(tmp_path / "one", 20)
    settings, prepared = loading(tmp_path / "two", tmp_path / "one")
    assert resume_folder(settings, tmp_path / "two") == tmp_path / "one/checkpoints"
    assert check_continuation(settings, prepared, Schedule((Stage("token", 0),)), train_iters=40) == []
    write_checkpoint(tmp_path / "two", 30)
    assert resume_folder(settings, tmp_path / "two") == tmp_path / "two/checkpoints"


def test_what_is_continued_elsewhere_must_be_the_same_run_and_have_something_left_to_do(tmp_path):
    claim_run(tmp_path / "one", config(), data())
    write_checkpoint(tmp_path / "one", 20)
    schedule = Schedule((Stage("token", 0),))
    with pytest.raises(UserError, match=r"one/checkpoints holds a run with data a1 .* but this one has data b2"):
        check_continuation(*loading(tmp_path / "two", tmp_path / "one", "b2"), schedule, train_iters=40)
    with pytest.raises(UserError, match="has 20 iterations already, and this one is to have 20"):
        check_continuation(*loading(tmp_path / "two", tmp_path / "one"), schedule, train_iters=20)
    (tmp_path / "one/metrics.jsonl").write_text('{"iteration": 1, "loss_stage": "sample"}\n')
    with pytest.raises(UserError, match="Iteration 1 was trained on the sample average"):
        check_continuation(*loading(tmp_path / "two", tmp_path / "one"), schedule, train_iters=40)


def test_a_folder_without_a_checkpoint_cannot_be_continued(tmp_path):
    with pytest.raises(UserError, match="holds no finished Megatron checkpoint to continue from"):
        resume_folder(loading(tmp_path / "two", tmp_path / "one")[0], tmp_path / "two")


def test_checkpoints_elsewhere_know_their_run(tmp_path):
    settings = SftConfig(recipe=RecipeConfig("tiny"), checkpoint={"save": str(tmp_path / "elsewhere/checkpoints")})
    claim_run(tmp_path / "one", settings, data())
    iteration = write_checkpoint(tmp_path / "elsewhere", 20)
    assert find_checkpoint(tmp_path / "one") == iteration
    assert run_of(iteration) == tmp_path / "one"
    assert hf_model_of(iteration) == "tiny"
    with pytest.raises(UserError, match=r"data a1 .* but this one has data b2"):
        check_same_run(tmp_path / "two", settings, data("b2"))


SAVED = "{optimizer: {lr: 0.003, clip_grad: 1.0}, train: {global_batch_size: 4}, model: {mtp_num_layers: 2}}"


def test_settings_that_change_in_the_middle_of_a_run_are_told(tmp_path):
    iteration = write_checkpoint(tmp_path, 20, SAVED)
    same = SftConfig(optimizer={"lr": 3e-3}, train={"global_batch_size": 4})
    assert changed_settings(same, iteration) == []
    larger = SftConfig(optimizer={"lr": 3e-3, "clip_grad": 0.5}, train={"global_batch_size": 8})
    assert changed_settings(larger, iteration) == [
        "train.global_batch_size is 8 from here on; it was 4.",
        "optimizer.clip_grad is 0.5 from here on; it was 1.0.",
    ]


@pytest.mark.parametrize("changed", [{"optimizer": {"lr": 1e-4}}, {"model": {"mtp_num_layers": None}}])
def test_settings_that_cannot_change_in_the_middle_of_a_run_are_refused(tmp_path, changed):
    iteration = write_checkpoint(tmp_path, 20, SAVED)
    with pytest.raises(UserError, match="cannot change in the middle of a run") as error:
        changed_settings(SftConfig(**changed), iteration)
    assert f"checkpoint.pretrained_checkpoint={tmp_path}/checkpoints" in error.value.hint
