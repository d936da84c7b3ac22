import re

import pytest

from nemotron.config import ConfigError
from nemotron.config.located import attach_origin, plain
from nemotron.config.overrides import add_word, apply_overrides, split_override


def override(tree, *arguments):
    return plain(apply_overrides(attach_origin(tree, "run.yaml:1"), arguments))


def test_dotted_keys_reach_into_sections_and_make_missing_ones():
    assert override({"train": {"iters": 1}}, "train.iters=2", "optimizer.lr=1e-5") == {
        "train": {"iters": 2},
        "optimizer": {"lr": 1e-5},
    }


def test_the_later_of_two_wins():
    assert override({}, "a=1", "a=2") == {"a": 2}


def test_list_elements_are_set_by_index_in_either_spelling():
    stages = {"stages": [{"start": 0}, {"start": 0.5}]}
    assert override(stages, "stages.1.start=9") == override(stages, "stages[1].start=9")
    assert override(stages, "stages[1].start=9") == {"stages": [{"start": 0}, {"start": 9}]}


def test_a_section_can_be_replaced_as_a_whole():
    assert override({"a": {"b": 1, "c": 2}}, "a={b: 3}") == {"a": {"b": 3}}


def test_everything_after_the_first_equals_sign_is_value():
    assert split_override("a.b=c=d") == ("a.b", "c=d")


def test_origins_tell_overrides_from_the_file():
    tree = apply_overrides(attach_origin({"a": 1, "b": 2}, "run.yaml:1"), ["b=3"])
    assert (tree.value["a"].origin, tree.value["b"].origin) == ("run.yaml:1", "command line")


@pytest.mark.parametrize("argument", ["a.x=3", "a.x.y=3"])
def test_a_section_made_where_the_file_has_a_value_is_the_command_lines(argument):
    tree = apply_overrides(attach_origin({"a": 1, "b": {"c": 2}}, "run.yaml:1"), [argument, "b.d=3"])
    assert (tree.value["a"].origin, tree.value["b"].origin) == ("command line", "run.yaml:1")


@pytest.mark.parametrize(
    ("argument", "message", "hint"),
    [
        ("tiny", '"tiny" is not key=value.', "To set it, write tiny=VALUE."),
        ("+a.b=1", '"+a.b" in "+a.b=1" is not a config key.', "Write a.b=1."),
        ("=1", '"" in "=1" is not a config key.', "Keys look like train.train_iters."),
        ("a..b=1", '"a..b" in "a..b=1" is not a config key.', "Keys look like train.train_iters."),
    ],
)
def test_what_is_not_key_value_is_refused(argument, message, hint):
    with pytest.raises(ConfigError) as caught:
        override({}, argument)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("key", ["stages.2.start", "stages.first.start"])
def test_a_list_element_that_is_not_there(key):
    with pytest.raises(ConfigError) as caught:
        override({"stages": [{}, {}]}, f"{key}=1")
    assert re.match(rf'command line: "{key}": stages .*0 to 1', caught.value.message)
    assert "stages=[...]" in caught.value.hint


@pytest.mark.parametrize(
    ("word", "added"),
    [(None, ["a=1"]), ("lora", ["peft=lora", "a=1"]), ("none", ["peft=null", "a=1"])],
)
def test_a_word_of_an_option_goes_before_what_was_typed(word, added):
    assert add_word("peft", word, ["a=1"]) == added


def test_an_option_and_the_section_that_it_sets_are_refused_together():
    with pytest.raises(ConfigError, match=r"--peft lora and peft=null set peft twice"):
        add_word("peft", "lora", ["a=1", "peft=null"])
    assert add_word("peft", "lora", ["peft.dim=8"]) == ["peft=lora", "peft.dim=8"]
    assert add_word("peft", None, ["peft=null"]) == ["peft=null"]
