"""Continuing a run in the same folder."""

import json
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.config import PeftConfig, RecipeConfig, SftConfig
from nemotron.training.loss import Schedule, Stage
from nemotron.training.prepared import PreparedData
from nemotron.training.resume import check_same_run, check_same_stages, finished_iterations, read_records


def data(run_hash="a1"):
    return PreparedData(Path("/data"), {"train": 8}, {"run_hash": run_hash, "pack_size": 512}, "SFTDataArtifact-sft:v1")


def config(model="tiny", peft=None):
    return SftConfig(recipe=RecipeConfig(hf_model=model), peft=peft)


def write_checkpoint(output, iteration):
    (output / "checkpoints").mkdir(parents=True)
    (output / "checkpoints" / "latest_checkpointed_iteration.txt").write_text(str(iteration))


def test_the_tracker_file_says_how_far_a_run_came(tmp_path):
    assert finished_iterations(tmp_path / "checkpoints") == 0
    write_checkpoint(tmp_path, 40)
    assert finished_iterations(tmp_path / "checkpoints") == 40


def test_the_same_run_may_continue(tmp_path):
    check_same_run(tmp_path, config(), data())
    write_checkpoint(tmp_path, 40)
    check_same_run(tmp_path, config(), data())


@pytest.mark.parametrize(
    ("changed_config", "changed_data", "named"),
    [
        (config(model="other"), data(), "model tiny, but this one has model other"),
        (config(), data("b2"), "data a1, but this one has data b2"),
        (config(peft=PeftConfig()), data(), "adapters None, but this one has adapters lora, dim 32"),
    ],
)
def test_another_model_data_or_adapter_is_refused_by_name(tmp_path, changed_config, changed_data, named):
    check_same_run(tmp_path, config(), data())
    write_checkpoint(tmp_path, 40)
    with pytest.raises(UserError) as error:
        check_same_run(tmp_path, changed_config, changed_data)
    assert named in error.value.message


def test_a_folder_without_a_checkpoint_is_claimed_anew(tmp_path):
    check_same_run(tmp_path, config(), data("a1"))
    check_same_run(tmp_path, config(), data("b2"))
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
    check_same_run(tmp_path / "run", config(model=str(tmp_path / "here/tiny")), data())
    write_checkpoint(tmp_path / "run", 40)
    check_same_run(tmp_path / "run", config(model=str(tmp_path / "job/tiny")), data())


def test_another_start_is_refused(tmp_path):
    started = SftConfig(recipe=RecipeConfig(hf_model="tiny"), checkpoint={"pretrained_checkpoint": "/a"})
    check_same_run(tmp_path, started, data())
    write_checkpoint(tmp_path, 40)
    with pytest.raises(UserError, match="start /a, but this one has start None"):
        check_same_run(tmp_path, config(), data())


TRAINED = [{"iteration": 1, "loss_stage": "token"}, {"iteration": 2, "loss_stage": "sample"}]


def test_a_stage_that_would_have_been_another_is_refused():
    check_same_stages(TRAINED, Schedule((Stage("token", 0), Stage("sample", 1))), finished=2)
    moved = Schedule((Stage("token", 0), Stage("sample", 2)))
    with pytest.raises(UserError, match="Iteration 2 was trained on the sample average"):
        check_same_stages(TRAINED, moved, finished=2)
    # What a killed run wrote after its checkpoint is going to be repeated.
    check_same_stages(TRAINED, moved, finished=1)
