"""What arguments mean: data, `key=value` or a forgotten `-c`; and options that exclude each other."""

from pathlib import Path

import pytest

from nemotron.cli.options import (
    _data_or_key_values,
    _is_data,
    _key_values,
    artifacts_root,
    check_profile,
    check_tries,
    peft_overrides,
    sample_overrides,
)
from nemotron.cli.usage import UsageError
from nemotron.config.errors import ConfigError


@pytest.mark.parametrize(
    ("argument", "is_data"),
    [
        ("chat.jsonl", True),
        ("chat.parquet", True),
        ("data/*", True),
        ("s3://bucket/chat", True),
        ("hf://org/chat?a=b", True),
        ("here", True),  # there is such a file
        ("here=1", True),
        ("here.yaml", False),
        ("there", False),
        ("tiny", False),
        ("pack_size=5", False),
        ("blend_path=s3://bucket/chat.jsonl", False),
        ("blend_path=*.jsonl", False),
    ],
)
def test_an_argument_is_data_if_it_is_there_or_looks_like_it(tmp_path: Path, argument: str, is_data: bool):
    for name in ("here", "here=1", "here.yaml", "tiny"):
        (tmp_path / name).touch()
    assert _is_data(argument) is is_data


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("tiny", "Did you mean -c tiny?"),
        ("my.yaml", "Did you mean -c my.yaml?"),
        ("my.yml", "Did you mean -c my.yml?"),
        ("seed", "To set it, write seed=VALUE."),
        ("my chat.jsonl", "To prepare it as data: nemotron super3 data prep sft 'my chat.jsonl'"),
    ],
)
def test_what_is_no_key_with_a_value_is_refused_with_what_was_meant(argument: str, hint: str):
    with pytest.raises(UsageError) as refused:
        _key_values(["a=1", argument])
    assert (refused.value.message, refused.value.hint) == (f'"{argument}" is not key=value.', hint)


def test_data_among_the_arguments_is_the_blend():
    assert _data_or_key_values(None) == _key_values(None) == []
    assert _data_or_key_values(["seed=1", "a.jsonl"]) == ["blend_path=a.jsonl", "seed=1"]
    assert _data_or_key_values(["blend_path=a.jsonl"]) == ["blend_path=a.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [(["a.jsonl", "b.jsonl"], "2 times: a.jsonl, b.jsonl"), (["a.jsonl", "blend_path=b"], "2 times: a.jsonl, b")],
)
def test_data_is_given_once(arguments: list[str], listed: str):
    with pytest.raises(UsageError, match=listed):
        _data_or_key_values(arguments)


def test_a_command_runs_on_one_profile():
    assert (check_profile(None, None), check_profile("a", None), check_profile(None, "b")) == (None, "a", "b")
    assert (check_profile("", None), check_profile(None, "")) == ("", "")
    with pytest.raises(UsageError, match="--run a and --batch b"):
        check_profile("a", "b")


@pytest.mark.parametrize(
    ("prompts", "profile", "dry", "message"),
    [
        (None, "there", True, None),
        ([], "there", True, None),
        (["Hi"], None, False, None),
        (["Hi"], "there", False, "there trains elsewhere"),
        (["Hi"], None, True, "a dry run makes none"),
        (["Hi", " "], None, False, "is empty"),
    ],
)
def test_a_prompt_is_tried_where_there_will_be_a_model(prompts, profile, dry: bool, message: str | None):
    if message is None:
        check_tries(prompts, profile, dry=dry)
        return
    with pytest.raises(UsageError, match=message):
        check_tries(prompts, profile, dry=dry)


def test_adapters_are_a_setting():
    assert peft_overrides(None, None) == []
    assert peft_overrides("lora", ["a=1"]) == ["peft=lora", "a=1"]
    with pytest.raises(ConfigError, match="peft=dora"):
        peft_overrides("lora", ["peft=dora"])


@pytest.mark.parametrize(
    ("given", "variable", "root"),
    [
        (Path("mine"), "/other", "mine"),
        (None, "/other", "/other"),
        (None, "~/other", "/home/me/other"),
        (None, "", "output/artifacts"),
        (None, None, "output/artifacts"),
    ],
)
def test_records_are_in_the_folder_that_is_given_or_the_variables(monkeypatch, given, variable: str | None, root: str):
    monkeypatch.setenv("HOME", "/home/me")
    if variable is not None:
        monkeypatch.setenv("NEMOTRON_ARTIFACTS", variable)
    assert artifacts_root(given) == Path(root)


def test_a_sample_is_a_whole_number_above_0():
    assert sample_overrides(None, False) == []
    assert sample_overrides("1", True) == ["sample=1", "force=true"]
    for wrong in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(UsageError, match=f"--sample is {wrong}"):
            sample_overrides(wrong, False)
