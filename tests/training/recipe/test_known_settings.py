"""Misspelt Megatron-Bridge settings and values of the wrong type, refused without importing it."""

import subprocess
import sys

import pytest

from nemotron.config import load_config
from nemotron.errors import UserError
from nemotron.training.bridge import TESTED_RELEASES
from nemotron.training.config import SftConfig
from nemotron.training.recipe import known_settings
from nemotron.training.recipe.known_settings import SETTINGS_FILE, check_known_settings, read_table


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Sets the release that is installed; 0.6.2 until called."""

    def install(release):
        monkeypatch.setattr(known_settings, "_installed_release", lambda: release)

    install("0.6.2")
    return install


def refusal(settings, origin="command line"):
    """The error about a config with one wrong setting: {section: {key: value}} or {section: value}."""
    [(section, content)] = settings.items()
    keys = [f"{section}.{key}" for key in content] if isinstance(content, dict) else [section]
    with pytest.raises(UserError) as error:
        check_known_settings(SftConfig(**settings), dict.fromkeys(keys, origin))
    return error.value


@pytest.mark.parametrize("name", ["default", "lora", "tiny", "tiny_lora"])
def test_the_shipped_configs_pass(name):
    check_known_settings(load_config(name, [], schema=SftConfig).config, {})


def test_the_table_has_a_column_for_each_tested_release():
    assert tuple(read_table(SETTINGS_FILE.read_text(encoding="utf-8"))) == TESTED_RELEASES


def test_a_cell_holds_types_choices_or_nothing():
    table = read_table("setting\t0.6.2\t0.4.2\nmodel.a\tint|null\t\nmodel.b\t'x'|'y'\tany\n")
    assert table == {"0.6.2": {"model.a": ("int", "null"), "model.b": ("'x'", "'y'")}, "0.4.2": {"model.b": ("any",)}}


def test_a_misspelt_setting_names_its_place_and_the_nearest():
    error = refusal({"train": {"train_itres": 5}}, "my.yaml:4")
    assert error.message.startswith("my.yaml:4: train.train_itres ")
    assert "0.6.2" in error.message
    assert "0.4.2" in error.message
    assert "train.train_iters" in (error.hint or "")


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": {"pad_seq_to_mult": 8}},
        {"optimizer": {"lr": 1}},  # a whole number where any number goes
        {"train": {"empty_unused_memory_level": 2}},  # choices that are numbers
        {"train": {"train_iters": None}},  # left to the data
        {"mixed_precision": "bf16_mixed"},
        {"mixed_precision": {"grad_reduce_in_fp32": False}},
        {"model": {"moe_router_load_balancing_type": ["a", "b"]}},  # of a type that the table does not describe
    ],
)
def test_right_settings_pass(settings):
    check_known_settings(SftConfig(**settings), {})


@pytest.mark.parametrize("release", ["0.6.2", "0.4.2", None])
def test_a_setting_of_either_release_passes_wherever_the_job_is_submitted(installed, release):
    """The container's release may differ from that of the machine that submits to it."""
    installed(release)
    of_one_release_each = {"muon_use_nesterov": True, "muon_nesterov": True}
    check_known_settings(SftConfig(optimizer=of_one_release_each), {})
    check_known_settings(SftConfig(tokenizer={"vocab_file": None, "tiktoken_pattern": "v2"}), {})
    assert "muon_use_nesterov" in (refusal({"optimizer": {"muon_use_nestorov": True}}).hint or "")


def test_an_unlisted_release_is_left_to_its_own_classes(installed):
    installed("0.7.0")
    check_known_settings(SftConfig(train={"a_setting_of_0_7": 5}, optimizer={"lr": "abc"}), {})


@pytest.mark.parametrize(
    ("settings", "key", "value", "wanted"),
    [
        ({"optimizer": {"lr": "abc"}}, "optimizer.lr", "'abc'", "a number"),
        ({"train": {"micro_batch_size": 1.5}}, "train.micro_batch_size", "1.5", "a whole number"),
        ({"train": {"micro_batch_size": True}}, "train.micro_batch_size", "True", "a whole number"),
        ({"model": {"sequence_parallel": "yes"}}, "model.sequence_parallel", "'yes'", "true or false"),
        ({"model": {"sequence_parallel": 1}}, "model.sequence_parallel", "1", "true or false"),
        ({"train": {"empty_unused_memory_level": 3}}, "train.empty_unused_memory_level", "3", "0 or 1 or 2"),
        ({"train": {"empty_unused_memory_level": True}}, "train.empty_unused_memory_level", "True", "0 or 1 or 2"),
        ({"mixed_precision": "bf16_mixd"}, "mixed_precision", "'bf16_mixd'", "15 names"),
    ],
)
def test_a_value_of_the_wrong_type_names_its_place_and_what_is_wanted(settings, key, value, wanted):
    message = refusal(settings).message
    assert message.startswith(f"command line: {key} is {value},")
    assert wanted in message


def test_a_misspelt_choice_has_a_suggestion():
    assert refusal({"mixed_precision": "bf16_mixd"}).hint == 'Did you mean "bf16_mixed"?'
    assert refusal({"model": {"recompute_method": "unifrom"}}).hint == 'Did you mean "uniform"?'
    assert refusal({"model": {"recompute_method": "x"}}).hint == "Use 'uniform' or 'block' or null."


def test_many_names_are_listed_once_the_nearest_first():
    names = (refusal({"mixed_precision": "fp8x"}).hint or "").partition(": ")[2].rstrip(".").split(", ")
    assert names[0] == "bf16_with_fp8_current_scaling_mixed"
    assert names[-1] == "nemotron_3_ultra_bf16_with_nvfp4_mixed"
    assert len(names) == len({name.replace("-", "_") for name in names}) == 15
    assert (refusal({"mixed_precision": "zzz"}).hint or "").partition(": ")[2].startswith("bf16_mixed, ")


@pytest.mark.megatron
def test_the_table_is_that_of_the_installed_release():
    check = [sys.executable, "tools/list_megatron_settings.py", "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_editor_gets_a_schema_for_each_setting_of_a_section(monkeypatch):
    table = (
        "setting\t0.6.2\t0.4.2\n"
        "train.b\tint|null\tfloat\ntrain.a\t'x'|'y'|null\t\ntrain.c\tany\t\ntrain.d\t\tbool\nmodel.a\tint\t\n"
    )
    monkeypatch.setattr(known_settings, "read_table", lambda text: read_table(table))
    or_null = [{"type": "null"}, known_settings.INTERPOLATED]
    assert [*known_settings.schemas_of_section("train").items()] == [
        ("a", {"anyOf": [{"enum": ["x", "y"]}, *or_null]}),
        ("b", {"anyOf": [{"type": "integer"}, {"type": "number"}, *or_null]}),
        ("c", {}),
        ("d", {"anyOf": [{"type": "boolean"}, *or_null]}),
    ]


def test_a_setting_from_nowhere_is_the_configs():
    with pytest.raises(UserError, match=r"^config: train\.train_itres"):
        check_known_settings(SftConfig(train={"train_itres": 5}), {})
