"""The schema of the training config."""

from nemotron.config import load_config
from nemotron.training.config import SftConfig


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
