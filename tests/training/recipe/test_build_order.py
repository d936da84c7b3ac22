"""What a recipe is built from, and in which order: parts of Megatron-Bridge and of this room as stand-ins."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.errors import Problem, UserError
from nemotron.training import bridge
from nemotron.training.config import PeftConfig, RecipeConfig, SftConfig
from nemotron.training.recipe import build
from nemotron.training.recipe.diff import Recipe


class Line:
    """Notes what it is asked, and with how far a config is built then."""

    def __init__(self, steps):
        self.steps = steps

    def super_recipe(self, hf_model, scheme):
        self.steps.append(("recipe", hf_model, scheme))
        return SimpleNamespace(model=SimpleNamespace(vocab_size=99, mtp_num_layers=1), mixed_precision=None)

    def fit_layout(self, model):
        self.steps.append(("layout", model.mtp_num_layers))

    def fit_adapters(self, model, routed):
        self.steps.append(("adapters", model.mtp_num_layers, routed))

    def check_loadable(self, folder):
        self.steps.append(("loadable", str(folder)))


@pytest.fixture
def steps(monkeypatch):
    """The steps of a build, each with what it gets."""
    steps = []

    def note(name, result=None, change=lambda container: None):
        def step(*arguments):
            steps.append((name, *arguments))
            if arguments and hasattr(arguments[0], "model"):
                change(arguments[0])
            return result or []

        monkeypatch.setattr(build, name, step)

    monkeypatch.setattr(bridge, "installed", lambda: Line(steps))
    note("apply_sections", change=lambda container: setattr(container.model, "mtp_num_layers", 2))
    for name in ("check_built_model", "fill_in", "keep_secrets_out"):
        note(name)
    monkeypatch.setattr(build, "what_runs", lambda container: {"mtp": container.model.mtp_num_layers})
    return steps


def checkpoint(name):
    return SimpleNamespace(folder=Path(name))


def run_from(folder=None, *, is_hf=False, megatron=None, base=None, newest=None):
    start = SimpleNamespace(checkpoint=folder and Path(folder), is_hf=is_hf, megatron=megatron)
    return SimpleNamespace(start=start), SimpleNamespace(base=base, newest=newest)


def make(config, plan, run):
    return build.build_recipe(config, plan, "data", run, {"a": "origin"}, Path("start"))


def test_a_recipe_is_built_in_order_and_keeps_what_it_was_made_from(steps):
    plan, run = run_from()
    config = SftConfig(recipe=RecipeConfig(hf_model="mine"), env_vars={"A": "1"})
    recipe = make(config, plan, run)
    container = recipe.container
    assert recipe == Recipe(container, {"mtp": 1})
    assert steps == [
        ("recipe", "mine", None),
        ("apply_sections", container, config, {"a": "origin"}),
        ("layout", 2),
        ("check_built_model", container.model, "mine", "data", plan.start, run),
        ("fill_in", container, config, plan, "data", run, Path("start")),
        ("keep_secrets_out", container, {"A": "1"}),
    ]


@pytest.mark.parametrize(("targets", "routed"), [(["linear_fc1"], True), (["in_proj"], False)])
def test_adapters_are_fitted_to_the_layout(steps, targets, routed):
    make(SftConfig(peft=PeftConfig("dora", targets)), *run_from())
    assert [step[-1] for step in steps if step[0] == "recipe"] == ["dora"]
    assert ("adapters", 2, routed) in steps


@pytest.mark.parametrize(
    ("run", "asked"),
    [
        (run_from(), []),
        (run_from("hf", is_hf=True), ["hf"]),
        (run_from("iter_1", megatron=checkpoint("iter_1")), ["iter_1"]),
        (run_from(megatron=checkpoint("a"), base=checkpoint("b"), newest=checkpoint("c")), ["a", "b", "c"]),
    ],
)
def test_whatever_is_loaded_must_be_of_a_line_that_is_not_later(steps, run, asked):
    make(SftConfig(), *run)
    assert [step[1] for step in steps if step[0] == "loadable"] == asked


def test_a_model_that_does_not_fit_is_refused(steps, monkeypatch):
    monkeypatch.setattr(build, "check_built_model", lambda *_: [Problem("It does not fit.", "Use another.")])
    with pytest.raises(UserError, match="It does not fit"):
        make(SftConfig(), *run_from())
    assert "fill_in" not in {step[0] for step in steps}


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError("gone.\nTraceback"), r"'mine': gone\.$"), (ValueError("  "), "'mine': ValueError")]
)
def test_a_model_config_that_cannot_be_read_is_named(monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(bridge, "installed", lambda: SimpleNamespace(super_recipe=fail))
    with pytest.raises(UserError) as refused:
        make(SftConfig(recipe=RecipeConfig(hf_model="mine")), *run_from())
    assert re.search(rf"recipe\.hf_model={reason}", refused.value.message)
