"""YAML values on dataclasses that, like Megatron-Bridge's, would accept anything."""

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from nemotron.errors import UserError
from nemotron.training.recipe.assign import assign


class Backend(enum.Enum):
    auto = 1
    fused = 2


@dataclass
class Settings:
    train_iters: int | None = None
    lr: float = 5e-6
    style: Literal["constant", "cosine"] = "cosine"
    params_dtype: torch.dtype = torch.float32
    backend: Backend = Backend.auto
    overlap: bool = False
    modules: list[str] = field(default_factory=list)
    betas: tuple[float, float] = (0.9, 0.95)
    folder: Path | None = None
    anything: Any = None


def test_values_are_set_and_others_left_alone():
    settings = Settings()
    assign(settings, "optimizer", {"lr": 1e-5, "overlap": False}, {})
    assert settings == Settings(lr=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train_iters", None, None),
        ("train_iters", 7, 7),
        ("lr", 1, 1.0),
        ("params_dtype", "bfloat16", torch.bfloat16),
        ("backend", "fused", Backend.fused),
        ("modules", ["a"], ["a"]),
        ("betas", [0.9, 0.98], (0.9, 0.98)),
        ("folder", "/data", "/data"),  # Megatron makes a path of it
        ("anything", {"a": 1}, {"a": 1}),
        ("style", "constant", "constant"),
    ],
)
def test_values_are_read_as_yaml_spells_them(key, value, expected):
    settings = Settings()
    assign(settings, "section", {key: value}, {})
    assert getattr(settings, key) == expected


def test_a_misspelt_key_names_its_place_and_the_nearest():
    with pytest.raises(UserError) as error:
        assign(Settings(), "train", {"train_itres": 5}, {"train.train_itres": "my.yaml:3"})
    assert error.value.message.startswith("my.yaml:3: train.train_itres ")
    assert error.value.hint == 'Did you mean "train.train_iters"?'


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("train_iters", "five", "a whole number or null"),
        ("train_iters", True, "a whole number or null"),
        ("lr", "fast", "a number"),
        ("overlap", 1, "true or false"),
        ("params_dtype", "float99", "a torch dtype such as bfloat16"),
        ("params_dtype", "nn", "a torch dtype such as bfloat16"),
        ("lr", True, "a number"),
        ("train_iters", 5.0, "a whole number or null"),
        ("modules", "a", "a list"),
        ("backend", "fsed", "'auto' or 'fused'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(key, value, wanted):
    with pytest.raises(UserError) as error:
        assign(Settings(), "section", {key: value}, {f"section.{key}": "command line"})
    assert error.value.message.startswith(f"command line: section.{key} is {value!r}")
    assert wanted in error.value.message


def test_a_misspelt_choice_names_the_nearest():
    with pytest.raises(UserError) as error:
        assign(Settings(), "scheduler", {"style": "constnat"}, {})
    assert error.value.hint == 'Did you mean "constant"?'
