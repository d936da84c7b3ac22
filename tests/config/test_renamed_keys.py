"""Keys of the public recipe: refused where they were written, with what to write instead."""

import pytest

from nemotron.config import ConfigError, load_config, route_overrides
from nemotron.config.renamed_keys import RENAMED_KEYS, find_new_name
from nemotron.config.schema import known_keys
from nemotron.data_prep.config import DataPrepConfig
from nemotron.training.config import SftConfig


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("recipe._target_", "recipe.hf_model"),
        ("recipe.peft", "peft"),
        ("dataset.super3_packed_sft_dir", "run.data"),
        ("dataset.packed_sequence_specs.packed_sequence_size", "run.data"),
        ("convert_to_hf.hf_model_id", "recipe.hf_model"),
        ("run.wandb.project", "logger.wandb_project"),
        ("run.env.startup_commands", "env.toml"),
    ],
)
def test_a_training_key_of_the_public_recipe_is_refused_with_its_name_here(tmp_path, key, instead):
    section, _, rest = key.partition(".")
    nested = "".join(f"\n{' ' * (2 * depth + 2)}{name}:" for depth, name in enumerate(rest.split(".")))
    (tmp_path / "mine.yaml").write_text(f"{section}:{nested} x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(tmp_path / "mine.yaml"), schema=SftConfig)
    assert "mine.yaml:" in caught.value.message
    assert key.startswith(caught.value.message.split('"')[1])
    assert caught.value.hint is not None
    assert instead in caught.value.hint


@pytest.mark.parametrize("key", ["tokenizer.add_bos", "run.env.container", "plan.planner_cpus", "observability.x"])
def test_so_is_one_of_data_prep(key):
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", [f"{key}=1"], group="data_prep", schema=DataPrepConfig)
    assert caught.value.hint == find_new_name(key)


def test_an_interpolation_of_the_public_recipe_says_where_its_value_is(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("logger:\n  wandb_project: ${run.wandb.project}\n")
    with pytest.raises(ConfigError, match=r"run\.wandb\.project") as caught:
        load_config(str(path), schema=SftConfig)
    assert caught.value.hint == RENAMED_KEYS["run.wandb.project"]


def test_a_key_for_several_stages_is_refused_likewise():
    with pytest.raises(ConfigError) as caught:
        route_overrides(["run.wandb.project=x"], {"prep": DataPrepConfig, "sft": SftConfig})
    assert caught.value.hint == RENAMED_KEYS["run.wandb.project"]


def test_no_key_that_exists_is_called_renamed():
    assert RENAMED_KEYS.keys() & known_keys(SftConfig) <= {"run.env"}  # which only data prep does not have
    assert RENAMED_KEYS.keys().isdisjoint(known_keys(DataPrepConfig))


RENAMED = (
    *("recipe._target_", "recipe.packed_sequence", "recipe.peft", "dataset.super3_packed_sft_dir"),
    *("dataset.nano3_packed_sft_dir", "dataset.packed_sequence_specs", "convert_to_hf.hf_model_id", "run.wandb"),
    *("run.wandb.project", "run.wandb.entity", "run.env.startup_commands", "run.env.mounts", "run.env.executor"),
    *("run.env", "tokenizer.add_bos", "tokenizer.add_eos", "plan", "download", "tokenization", "observability"),
)


def test_every_key_of_the_public_recipe_has_a_name_of_its_own():
    names = [find_new_name(key) for key in RENAMED]
    assert None not in names
    assert len(RENAMED_KEYS) == len(RENAMED)
    for key, name in zip(RENAMED, names, strict=True):
        assert find_new_name(f"{key}.below") == name
        outer = key.rpartition(".")[0]
        assert outer not in RENAMED or find_new_name(outer) != name
    assert find_new_name("recipe.hf_model") is None
