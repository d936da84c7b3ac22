"""What an export refuses before Megatron is imported."""

import pytest

from nemotron.errors import UserError
from nemotron.training.checkpoints.reader import base_model_of, latest_iteration
from nemotron.training.weights.export_hf import export_hf


def finished_checkpoint(folder, iteration, run_config):
    iteration_dir = folder / f"iter_{iteration:07d}"
    iteration_dir.mkdir()
    (iteration_dir / "run_config.yaml").write_text(run_config)
    (folder / "latest_checkpointed_iteration.txt").write_text(str(iteration))
    return iteration_dir


def test_the_iteration_training_would_resume_from_is_taken(tmp_path):
    old = finished_checkpoint(tmp_path, 20, "peft: null")
    new = finished_checkpoint(tmp_path, 40, "peft: null")
    (tmp_path / "iter_0000060").mkdir()  # a save that was interrupted
    assert latest_iteration(tmp_path) == new
    assert latest_iteration(old) == old


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} holds no finished Megatron checkpoint"):
        export_hf(tmp_path, tmp_path / "hf", "config", "tokenizer")


def adapters(base):
    return f"peft:\n  _target_: megatron.bridge.peft.lora.LoRA\ncheckpoint:\n  pretrained_checkpoint: {base}\n"


def test_adapters_name_the_model_they_were_trained_on(tmp_path):
    (tmp_path / "base").mkdir()
    base = finished_checkpoint(tmp_path / "base", 0, "peft: null")
    assert base_model_of(finished_checkpoint(tmp_path, 3, adapters(tmp_path / "base"))) == base
    assert base_model_of(base) is None


def test_adapters_whose_model_is_gone_are_refused(tmp_path):
    finished_checkpoint(tmp_path, 3, adapters("/gone"))
    with pytest.raises(UserError, match=r"iter_0000003 holds adapters, and the model .* is not at /gone"):
        export_hf(tmp_path, tmp_path / "hf", "config", "tokenizer")


@pytest.mark.parametrize("target", ["run", "models", "run/checkpoints"])
def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path, target):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    finished_checkpoint(tmp_path / "run" / "checkpoints", 20, "peft: null")
    with pytest.raises(UserError, match="not an earlier export"):
        export_hf(tmp_path / "run" / "checkpoints", tmp_path / target, "config", "tokenizer")
    assert (tmp_path / "run" / "checkpoints" / "iter_0000020").is_dir()
    assert (tmp_path / "models" / "mine").is_dir()
