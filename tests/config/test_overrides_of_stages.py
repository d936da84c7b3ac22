from dataclasses import dataclass, field
from typing import Any

import pytest

from nemotron.config import ConfigError, route_overrides
from nemotron.config.overrides import may_have


@dataclass
class Run:
    artifacts: str = ""


@dataclass
class Prep:
    pack_size: int = 1
    tokenizer: Run = field(default_factory=Run)
    run: Run = field(default_factory=Run)


@dataclass
class Train:
    run: Run = field(default_factory=Run)
    tokenizer: dict[str, Any] = field(default_factory=dict)
    stages: list[Run] = field(default_factory=list)


def route(*overrides):
    return route_overrides(overrides, {"prep": Prep, "train": Train})


def test_each_key_goes_where_it_is_known():
    assert route("pack_size=2", "stages[0].artifacts=x", "tokenizer.pad=1") == {
        "prep": ["pack_size=2"],
        "train": ["stages[0].artifacts=x", "tokenizer.pad=1"],
    }


def test_a_key_that_both_spell_out_goes_to_both():
    assert route("run.artifacts=x") == {"prep": ["run.artifacts=x"], "train": ["run.artifacts=x"]}


def test_a_key_that_one_spells_out_does_not_go_to_the_others_open_section():
    assert route("tokenizer.artifacts=x") == {"prep": ["tokenizer.artifacts=x"], "train": []}


def test_an_unknown_key_is_refused_with_the_nearest_of_both():
    with pytest.raises(ConfigError) as caught:
        route("pak_size=2")
    assert caught.value.message == 'command line: unknown key "pak_size".'
    assert caught.value.hint == 'Did you mean "pack_size"?'


@pytest.mark.parametrize(
    ("override", "has"),
    [
        ("run.artifacts=x", True),
        ("stages[0].artifacts=x", True),
        ("stages.0.artifacts=x", True),
        ("tokenizer.anything.below=1", True),  # an open section
        ("stages.artifacts2=x", False),
        ("run.other=x", False),  # a section with keys of its own
        ("pack_size=1", False),  # the other stage's
    ],
)
def test_a_stage_may_have_its_own_keys_and_any_in_an_open_section(override, has):
    assert may_have(Train, override) is has
