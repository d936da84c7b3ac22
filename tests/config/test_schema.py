import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from nemotron.config import ConfigError
from nemotron.config.located import attach_origin, plain
from nemotron.config.schema import default_tree, known_keys, refuse_unknown


@dataclass
class Stage:
    average: Literal["token", "sample"] = "token"
    start: int | float = 0


@dataclass
class Peft:
    dim: int = 32


@dataclass
class Schema:
    name: str
    peft: Peft | None = None
    stages: list[Stage] = field(default_factory=lambda: [Stage()])
    model: dict[str, Any] = field(default_factory=dict)


def test_known_keys_enter_sections_unions_and_lists():
    assert known_keys(Schema) == [
        "name", "peft", "peft.dim", "stages", "stages.average", "stages.start", "model",
    ]  # fmt: skip


def test_defaults_are_a_tree_without_what_is_required():
    tree = default_tree(Schema)
    assert plain(tree) == {"peft": None, "stages": [{"average": "token", "start": 0}], "model": {}}
    assert tree.value["model"].origin == "default"


def test_known_keys_and_anything_in_an_open_section_pass():
    tree = {"name": "x", "peft": {"dim": 1}, "stages": [{"start": 1}], "model": {"any": {"thing": 1}}}
    refuse_unknown(Schema, attach_origin(tree, "run.yaml:1"))


@pytest.mark.parametrize(
    ("tree", "key", "hint"),
    [
        ({"nmae": "x"}, "nmae", 'Did you mean "name"?'),
        ({"peft": {"dimm": 1}}, "peft.dimm", 'Did you mean "peft.dim"?'),
        ({"stages": [{}, {"stat": 1}]}, "stages.1.stat", 'Did you mean "stages.1.start"?'),
        ({"dim": 1}, "dim", 'Did you mean "peft.dim"?'),
        ({"zzz": 1}, "zzz", "Known keys: name, peft, stages, model."),
        ({"peft": {"zzz": 1}}, "peft.zzz", "Known keys of peft: dim."),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(tree, key, hint):
    with pytest.raises(ConfigError) as caught:
        refuse_unknown(Schema, attach_origin(tree, "run.yaml:7"))
    assert re.match(rf'run\.yaml:7: .*"{key}"', caught.value.message)
    assert caught.value.hint == hint
