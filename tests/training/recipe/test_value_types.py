"""Values of the wrong kind for Megatron-Bridge's settings, refused without importing it."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from nemotron.config import load_config
from nemotron.errors import UserError
from nemotron.training.config import SftConfig
from nemotron.training.recipe import known_settings


@pytest.fixture(autouse=True)
def listed_release(monkeypatch):
    """As if the release were installed that the list was made from."""
    monkeypatch.setattr(known_settings, "_installed_release", lambda: "0.6.2")


@pytest.mark.parametrize("name", ["default", "lora", "tiny", "tiny_lora"])
def test_the_shipped_configs_pass(name):
    known_settings.check_value_types(load_config(name, [], schema=SftConfig).config, {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": {"lr": "abc"}}, "optimizer.lr is 'abc', which is not a number or null."),
        ({"train": {"micro_batch_size": 1.5}}, "train.micro_batch_size is 1.5, which is not a whole number or null."),
        ({"model": {"sequence_parallel": "yes"}}, "model.sequence_parallel is 'yes', which is not true or false."),
        ({"mixed_precision": "bf16_mixd"}, "mixed_precision is 'bf16_mixd', which is not one of its 15 names."),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_place_and_what_is_wanted(settings, message):
    [(section, value)] = settings.items()
    key = section if isinstance(value, str) else f"{section}.{next(iter(value))}"
    with pytest.raises(UserError) as error:
        known_settings.check_value_types(SftConfig(**settings), {key: "command line"})
    assert error.value.message.startswith(f"command line: {message}")


def test_a_misspelt_choice_has_a_suggestion():
    with pytest.raises(UserError) as error:
        known_settings.check_value_types(SftConfig(mixed_precision="bf16_mixd"), {})
    assert error.value.hint == 'Did you mean "bf16_mixed"?'


def test_many_names_are_listed_once_the_nearest_first():
    with pytest.raises(UserError) as error:
        known_settings.check_value_types(SftConfig(mixed_precision="fp8x"), {})
    assert error.value.hint.startswith("Use one of these, the nearest first: bf16_with_fp8_current_scaling_mixed, ")
    assert error.value.hint.endswith("nemotron_3_ultra_bf16_with_nvfp4_mixed.")
    assert str(error.value).count("fp16_mixed") == 1
    with pytest.raises(UserError) as error:
        known_settings.check_value_types(SftConfig(mixed_precision="zzz"), {})
    assert error.value.hint.startswith("Use one of these: bf16_mixed, ")


def test_another_release_is_left_to_its_own_classes(monkeypatch):
    monkeypatch.setattr(known_settings, "_installed_release", lambda: "0.4.2")
    known_settings.check_value_types(SftConfig(optimizer={"lr": "abc"}), {})


@pytest.mark.megatron
@pytest.mark.skipif(version("megatron-bridge") != "0.6.2", reason="the list is that of 0.6.2")
def test_the_list_is_that_of_the_installed_release():
    check = [sys.executable, "tools/list_megatron_types.py", "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
