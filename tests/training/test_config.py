"""The schema of the training config."""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_type_hints

import pytest

from nemotron.config import PathKeys, load_config
from nemotron.training.config import MEGATRON_SECTIONS, LossConfig, PeftConfig, RunConfig, SftConfig, StageConfig
from nemotron.training.recipe.known_settings import SETTINGS_FILE, read_table


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


def test_what_a_config_leaves_out_is_as_in_the_one_that_says_it():
    """config/default.yaml lists every default; only where a run starts, writes and averages is its own choice."""
    listed, left_out = load_config("default", schema=SftConfig).config, SftConfig()
    own = replace(left_out.run, model=listed.run.model, output_dir=listed.run.output_dir, env=listed.run.env)
    assert listed.run == own
    for section in ("recipe", "peft", "test", "convert_to_hf", "mixed_precision", "comm_overlap", "profiling"):
        assert getattr(listed, section) == getattr(left_out, section), section
    assert listed.loss.sample_unit == left_out.loss.sample_unit


def test_a_config_without_settings_is_complete():
    assert (RunConfig().model, RunConfig().output_dir) == (None, "output/sft")
    assert LossConfig().stages == [StageConfig("token", 0)]
    assert {name: value for name, value in asdict(PeftConfig()).items() if name != "target_modules"} == {
        "scheme": "lora", "dim": 32, "alpha": 32, "dropout": 0.0,
    }  # fmt: skip
    assert {section for section in MEGATRON_SECTIONS if not hasattr(SftConfig(), section)} == set()


@pytest.mark.parametrize(
    ("modules", "adapts"),
    [
        (["linear_qkv"], False),
        (["linear_fc1"], True),
        (["linear_fc2"], True),
        (["*.experts.linear_fc*"], True),
        (["*.shared_experts.linear_fc1"], False),
        (["linear_fc1.other"], False),
        (["linear_qkv", "*_fc2"], True),
    ],
)
def test_adapters_on_routed_experts_are_known_by_the_last_name(modules, adapts):
    assert PeftConfig("lora", modules).adapts_routed_experts is adapts


def test_where_a_run_saves_and_what_it_continues(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = SftConfig(run=RunConfig(output_dir="out"))
    assert (config.saves_to, config.other_run) == (tmp_path / "out/checkpoints", None)
    config.checkpoint = {"save": "mine", "load": "other"}
    assert (config.saves_to, config.other_run) == (tmp_path / "mine", tmp_path / "other")
    Path("link").symlink_to("mine")
    config.checkpoint["load"] = "link"  # its own, by another name
    assert config.other_run is None


def test_a_setting_of_megatron_that_is_named_as_a_path_is_one():
    known = {key for settings in read_table(SETTINGS_FILE.read_text()).values() for key in settings}
    named = {key for key in known if re.search(r"_(dir|path|file|filepath)$|\.(save|load)$", key)}
    named |= {"checkpoint.pretrained_checkpoint", "checkpoint.ckpt_convert_save", "tokenizer.tokenizer_model"}
    named |= {"dataset.dataloader_load", "dataset.dataloader_save"}
    hints = get_type_hints(SftConfig, include_extras=True)
    marks = {section: getattr(hints[section], "__metadata__", ()) for section in MEGATRON_SECTIONS}
    marks["profiling"] = getattr(SftConfig.__annotations__["profiling"].__args__[0], "__metadata__", ())
    keys = {section: [mark for mark in found if isinstance(mark, PathKeys)] for section, found in marks.items()}
    paths = {f"{section}.{key}" for section, [*of_section] in keys.items() for mark in of_section for key in mark}
    assert paths == named - {"model.use_mamba_mem_eff_path"}  # a switch


def test_where_a_run_exports_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = SftConfig(run=RunConfig(output_dir="out"))
    assert config.exports_to == tmp_path / "out/hf"
    config.convert_to_hf.adapter = True
    assert config.exports_to == tmp_path / "out/adapter"
    config.convert_to_hf.output_dir = "elsewhere"
    assert config.exports_to == tmp_path / "elsewhere"
