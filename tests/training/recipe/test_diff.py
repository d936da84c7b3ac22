"""What runs against the recipe it came from, on configs built like Megatron-Bridge's."""

import enum
from dataclasses import dataclass, field
from functools import partial

import pytest
from tests.stand_ins import put_modules

from nemotron.training.recipe.diff import Change, Recipe, differences, what_runs


@dataclass
class Optimizer:
    lr: float = 5e-6
    bf16: bool = False


@dataclass
class Precision:
    bf16: bool = True

    is_final: bool = False

    def finalize(self):
        self.is_final = True

    def setup(self, model, optimizer, ddp):
        model.bf16 = optimizer.bf16 = ddp.bf16 = self.bf16


@dataclass
class Container:
    optimizer: Optimizer = field(default_factory=Optimizer)
    model: Optimizer = field(default_factory=Optimizer)
    ddp: Optimizer = field(default_factory=Optimizer)
    mixed_precision: Precision | None = field(default_factory=Precision)
    env_vars: dict = field(default_factory=dict)


def test_what_mixed_precision_sets_counts_and_the_config_is_left_alone():
    container = Container()
    runs = what_runs(container)
    keys = ("model.bf16", "optimizer.bf16", "ddp.bf16", "mixed_precision.is_final")
    assert [runs[key] for key in keys] == [True] * 4
    assert container == Container()


def test_every_difference_is_told_whoever_made_it():
    ours = Container(optimizer=Optimizer(lr=1e-5), env_vars={"A": "1"})
    changes = differences(what_runs(Container()), what_runs(ours))
    assert changes == [Change("optimizer.lr", 5e-6, 1e-5), Change("env_vars", "{}", "set")]


def test_a_part_that_one_of_them_lacks_is_told_as_one():
    without = Container(mixed_precision=None)
    changes = differences(what_runs(Container()), what_runs(without))
    assert Change("mixed_precision", "set", None) in changes
    assert not any(change.key.startswith("mixed_precision.") for change in changes)
    # And what it would have set.
    assert Change("optimizer.bf16", True, False) in changes


def test_a_recipe_is_compared_with_what_became_of_it():
    container = Container()
    recipe = Recipe(container, what_runs(container))
    assert recipe.changes() == []
    container.optimizer.lr = 1.0
    assert [str(change) for change in recipe.changes()] == ["optimizer.lr: 1.0 (the recipe says 5e-06)"]


def test_the_order_is_ours_then_what_only_the_recipe_has():
    changes = differences({"a.x": 1, "b": 2, "c": 3}, {"c": 4, "b": 2, "d": 5})
    assert changes == [Change("c", 3, 4), Change("d", "absent", 5), Change("a.x", 1, "absent")]


def test_mixed_precision_may_be_a_name(monkeypatch):
    named = {"get_mixed_precision_config": lambda name: Precision() if name == "bf16_mixed" else None}
    put_modules(monkeypatch, {"megatron.bridge.training.mixed_precision": named})
    container = Container(mixed_precision="bf16_mixed")
    assert what_runs(container)["optimizer.bf16"] is True
    assert container.mixed_precision == "bf16_mixed"


def test_mixed_precision_is_finished_before_it_is_applied():
    class Unfinished(Precision):
        def finalize(self):
            self.bf16 = "finished"

    precision = Unfinished()
    assert what_runs(Container(mixed_precision=precision))["optimizer.bf16"] == "finished"
    assert precision.bf16 is True


class Backend(enum.Enum):
    FLASH = 1


class Anonymous:
    """Its text has its address, which differs from run to run."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Backend.FLASH, "FLASH"),
        (None, None),
        (0.5, 0.5),
        ((1, (Backend.FLASH, "a")), [1, ["FLASH", "a"]]),
        (pytest.approx, "approx"),
        (partial(int, base=2), "partial"),
        (Anonymous(), "Anonymous"),
        (frozenset({3}), "frozenset({3})"),
    ],
)
def test_values_are_compared_as_plain_ones(value, expected):
    assert what_runs(Container(model=Optimizer(lr=value)))["model.lr"] == expected


def test_a_field_that_starts_with_an_underscore_is_no_setting():
    @dataclass
    class Model:
        shown: int = 1
        _hidden: int = 2

    settings = what_runs(Container(model=Model(), optimizer=Model(), ddp=Model(), mixed_precision=None))
    assert [key for key in settings if key.startswith("model")] == ["model.shown"]
