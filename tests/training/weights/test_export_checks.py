"""What an export refuses before Megatron is imported."""

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.errors import UserError
from nemotron.training.checkpoints.checkpoint import read_checkpoint
from nemotron.training.checkpoints.initial_weights import base_model_of
from nemotron.training.checkpoints.newest import find_checkpoint, find_latest
from nemotron.training.weights.export_adapter import check_adapters_of, export_adapter
from nemotron.training.weights.export_hf import export_hf


def test_the_iteration_training_would_resume_from_is_taken(tmp_path):
    old = write_checkpoint(tmp_path, 20)
    new = write_checkpoint(tmp_path, 40)
    (tmp_path / "iter_0000060").mkdir()  # a save that was interrupted
    assert find_latest(tmp_path).folder == new
    assert find_latest(old).folder == old


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        export_hf(find_checkpoint(tmp_path), tmp_path / "hf", "config", "tokenizer")


def adapters(base):
    return {"peft": {"_target_": "megatron.bridge.peft.lora.LoRA"}, "checkpoint": {"pretrained_checkpoint": str(base)}}


def test_adapters_name_the_model_they_were_trained_on(tmp_path):
    (tmp_path / "base").mkdir()
    base = write_checkpoint(tmp_path / "base", 0)
    made = write_checkpoint(tmp_path, 3, adapters(tmp_path / "base"))
    assert base_model_of(read_checkpoint(made)) == read_checkpoint(base)
    assert base_model_of(read_checkpoint(base)) is None


def test_adapters_whose_model_is_gone_are_refused(tmp_path):
    write_checkpoint(tmp_path, 3, adapters("/gone"))
    with pytest.raises(UserError, match=r"iter_0000003.* /gone"):
        export_hf(find_checkpoint(tmp_path), tmp_path / "hf", "config", "tokenizer")


@pytest.mark.parametrize("target", ["run", "models", "run/checkpoints"])
def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path, target):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    write_checkpoint(tmp_path / "run" / "checkpoints", 20)
    with pytest.raises(UserError, match=str(tmp_path / target)):
        export_hf(find_checkpoint(tmp_path / "run" / "checkpoints"), tmp_path / target, "config", "tokenizer")
    assert (tmp_path / "run" / "checkpoints" / "iter_0000020").is_dir()
    assert (tmp_path / "models" / "mine").is_dir()


@pytest.mark.parametrize(
    ("config", "reason"),
    [({}, "no adapters"), ({"peft": {"_target_": "megatron.bridge.peft.dora.DoRA"}}, "DoRA")],
)
def test_what_has_no_lora_adapters_is_not_exported_as_an_adapter(tmp_path, config, reason):
    iteration = write_checkpoint(tmp_path, 3, config)
    with pytest.raises(UserError, match=f"iter_0000003 .*{reason}"):
        export_adapter(find_checkpoint(tmp_path), tmp_path / "adapter", "config", "tokenizer")
    assert not (tmp_path / "adapter").exists()
    assert iteration.is_dir()


def test_an_adapter_replaces_an_earlier_one_and_nothing_else(tmp_path):
    (tmp_path / "base").mkdir()
    write_checkpoint(tmp_path / "base", 0)
    write_checkpoint(tmp_path / "run", 3, adapters(tmp_path / "base"))
    target = tmp_path / "adapter"
    target.mkdir()
    for name in ("config.json", "model.safetensors"):  # a merged model
        (target / name).touch()
    with pytest.raises(UserError, match=str(target)):
        export_adapter(find_checkpoint(tmp_path / "run"), target, "config", "tokenizer")


@pytest.mark.parametrize(
    ("peft", "refused"),
    [
        (None, "has a whole model and no adapters"),
        ({"_target_": "megatron.bridge.peft.dora.DoRA"}, "has DoRA adapters"),
        ({"_target_": "megatron.bridge.peft.canonical_lora.CanonicalLoRA"}, "has CanonicalLoRA adapters"),
        ({"_target_": "megatron.bridge.peft.lora.LoRA"}, None),
    ],
)
def test_only_lora_adapters_are_exported_alone(tmp_path, peft, refused):
    checkpoint = read_checkpoint(write_checkpoint(tmp_path, 40, {"peft": peft}))
    if refused is None:
        check_adapters_of(checkpoint)
        return
    with pytest.raises(UserError, match=f"iter_0000040 {refused}") as caught:
        check_adapters_of(checkpoint)
    assert "remove --adapter (convert_to_hf.adapter)" in str(caught.value.hint)
