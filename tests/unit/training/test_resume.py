"""Continuing a run in the same folder."""

import json
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.config import PeftConfig, RecipeConfig, SftConfig
from nemotron.training.prepared import PreparedData
from nemotron.training.resume import check_same_run, finished_iterations, read_records


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
