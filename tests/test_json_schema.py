"""The JSON schemas that editors check YAML with: made of dataclasses, and right about every shipped file."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from nemotron.cli.app import run
from nemotron.cli.config import Kind, schema_text
from nemotron.config.located import plain
from nemotron.config.yaml_file import read_yaml
from nemotron.files.paths import config_dir
from nemotron.json_schema import INTERPOLATED, json_schema

jsonschema = pytest.importorskip("jsonschema")

FOLDERS = {Kind.SFT: ".", Kind.DATA_PREP: "data_prep", Kind.ROLLOUTS: "rollouts"}
SHIPPED = [(kind, path) for kind, folder in FOLDERS.items() for path in sorted((config_dir() / folder).glob("*.yaml"))]


@dataclass
class Inner:
    """A section."""

    rate: float = 0.0
    """Per second."""


@dataclass
class Outer:
    """All of it."""

    kind: Literal["a", "b"] = "a"
    """Which
    kind."""
    names: list[str] = field(default_factory=list)
    inner: Inner | None = None
    open: dict[str, Any] = field(default_factory=dict)


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


def test_a_field_has_its_type_and_the_text_below_it():
    schema = json_schema(Outer)
    assert schema["description"] == "All of it."
    assert schema["properties"]["kind"] == {"description": "Which kind.", "anyOf": [{"enum": ["a", "b"]}, INTERPOLATED]}
    inner = schema["properties"]["inner"]["anyOf"][0]["properties"]["rate"]
    assert inner == {"description": "Per second.", "anyOf": [{"type": "number"}, INTERPOLATED]}


TAKEN = [{"kind": "b", "names": ["x"]}, {"inner": None}, {"inner": {"rate": 1}}, {"kind": "${a}"}, {"open": {"x": 1}}]


@pytest.mark.parametrize("value", TAKEN)
def test_what_the_config_takes_passes(value: dict):
    assert problems(json_schema(Outer), value) == []


@pytest.mark.parametrize("value", [{"kind": "c"}, {"knid": "a"}, {"inner": {"rat": 1}}, {"names": "x"}, {"inner": 3}])
def test_what_the_config_refuses_does_not(value: dict):
    assert problems(json_schema(Outer), value)


def test_settings_of_open_sections_are_listed():
    schema = json_schema(Outer, lambda section: {"speed": {"type": "integer"}} if section == "open" else {})
    assert problems(schema, {"open": {"speed": 3, "other": "x"}}) == []
    assert problems(schema, {"open": {"speed": "fast"}})


@pytest.mark.parametrize(("kind", "path"), SHIPPED, ids=lambda value: getattr(value, "name", str(value)))
def test_every_shipped_file_names_a_schema_that_accepts_it(kind: Kind, path: Path):
    named = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == (config_dir() / "schema" / f"{kind}.json").resolve()
    assert problems(json.loads((path.parent / named).read_text()), plain(read_yaml(path, path.name))) == []


@pytest.mark.parametrize("kind", Kind)
def test_the_shipped_schema_is_that_of_the_code(kind: Kind, capsys: pytest.CaptureFixture[str]):
    assert run(["config", "schema", kind.value]) == 0
    printed = capsys.readouterr().out
    assert printed == (config_dir() / "schema" / f"{kind}.json").read_text(), "Run: python -m tools.reference"


def test_megatrons_settings_are_checked():
    schema = json.loads(schema_text(Kind.SFT))
    assert problems(schema, {"optimizer": {"lr": 1e-5}, "train": {"train_iters": None}}) == []
    assert problems(schema, {"optimizer": {"lr": "fast"}})
    assert problems(schema, {"peft": "lora"}) == []
    assert problems(schema, {"peft": "lroa"})
