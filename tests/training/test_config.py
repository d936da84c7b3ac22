"""The schema of the training config."""

from nemotron.config import load_config
from nemotron.training.config import PeftConfig, SftConfig


def test_every_path_of_a_training_config_may_begin_with_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    keys = (
        *("run.output_dir", "run.data", "run.artifacts", "recipe.hf_model", "convert_to_hf.output_dir"),
        *("checkpoint.save", "checkpoint.load", "checkpoint.pretrained_checkpoint"),
        *("logger.tensorboard_dir", "logger.wandb_save_dir", "tokenizer.tokenizer_model"),
    )
    config = load_config("tiny", [f"{key}=~/x" for key in keys], schema=SftConfig).config
    for key in keys:
        section, name = key.split(".")
        values = getattr(config, section)
        assert (values[name] if isinstance(values, dict) else getattr(values, name)) == "/home/me/x", key


def test_adapters_are_on_every_layer_that_their_scheme_supports():
    assert PeftConfig().target_modules == [
        "linear_qkv",
        "linear_proj",
        "linear_fc1",
        "linear_fc2",
        "in_proj",
        "out_proj",
    ]
    shared = ["*.shared_experts.linear_fc1", "*.shared_experts.linear_fc2"]
    assert PeftConfig("dora").target_modules == ["linear_qkv", "linear_proj", "out_proj", *shared]
    assert PeftConfig("dora", ["in_proj"]).target_modules == ["in_proj"]
