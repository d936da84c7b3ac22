"""Settings with several spellings: what was written last wins, and two in one place are refused."""

import pytest

from nemotron.config import Alternatives, ConfigError, load_config
from nemotron.config.located import attach_origin, merge, plain
from nemotron.config.spellings import _refuse_two, _without, find, has_other_spellings
from nemotron.training.config import SftConfig


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load('train: {...}', 'key=value', ...): a file on top of the shipped default, and what is typed over it."""
    monkeypatch.chdir(tmp_path)

    def load(text, *typed, parent="default"):
        (tmp_path / "mine.yaml").write_text(f"defaults: {parent}\n{text}")
        return load_config("mine.yaml", typed, schema=SftConfig)

    return load


@pytest.mark.parametrize(
    ("written", "typed", "key", "others"),
    [
        ("", "scheduler.lr_warmup_iters=10", "scheduler.lr_warmup_iters", ["scheduler.lr_warmup_samples"]),
        ("", "scheduler.lr_warmup_fraction=0.1", "scheduler.lr_warmup_fraction", ["scheduler.lr_warmup_samples"]),
        ("train: {num_epochs: 3}", "train.train_iters=5", "train.train_iters", ["train.num_epochs"]),
        ("train: {train_iters: 3}", "train.train_samples=64", "train.train_samples", ["train.train_iters"]),
        ("train: {train_iters: 3}", "train={num_epochs: 2}", "train.num_epochs", ["train.train_iters"]),
        (
            "scheduler: {lr_decay_iters: 9}",
            "scheduler.lr_decay_samples=99",
            "scheduler.lr_decay_samples",
            ["scheduler.lr_decay_iters"],
        ),
        (
            "scheduler: {lr_wsd_decay_samples: 9}",
            "scheduler.lr_wsd_decay_iters=1",
            "scheduler.lr_wsd_decay_iters",
            ["scheduler.lr_wsd_decay_samples"],
        ),
        ("recipe: {random_start: 1}", "run.model=mine", "run.model", ["recipe.random_start"]),
        ("run: {model: mine}", "recipe.random_start=0", "recipe.random_start", ["run.model"]),
        (
            "checkpoint: {pretrained_checkpoint: /a}",
            "run.model=mine",
            "run.model",
            ["checkpoint.pretrained_checkpoint"],
        ),
    ],
)
def test_what_is_typed_wins_over_what_a_file_says_in_another_way(load, written, typed, key, others):
    tree = load(written, typed)
    assert value(tree.tree, key) is not None
    assert [value(tree.tree, other) for other in others] == [None] * len(others)
    assert {tree.origins[other] for other in others if other in tree.origins} <= {"command line"}


def test_a_file_wins_over_what_it_inherits_in_another_way(load):
    scheduler = load("scheduler: {lr_warmup_iters: 7}").config.scheduler
    assert (scheduler["lr_warmup_iters"], scheduler["lr_warmup_samples"]) == (7, None)
    assert load("recipe: {random_start: 1}").config.run.model is None
    # And keeps it where it says only that it has no such thing.
    assert load("train: {train_iters: null}", parent="tiny").config.train["train_iters"] is None


def test_zero_turns_a_warm_up_off_and_is_nothing_next_to_another(load):
    assert load("", "scheduler.lr_warmup_iters=0").config.scheduler["lr_warmup_samples"] is None
    both = load("", "scheduler.lr_warmup_iters=0", "scheduler.lr_warmup_samples=640").config.scheduler
    assert both["lr_warmup_samples"] == 640


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (["train.train_iters=5", "train.num_epochs=2"], ["train.train_iters=5", "train.num_epochs=2"]),
        (["train={train_iters: 5, train_samples: 9}"], ["train.train_iters", "train.train_samples"]),
        (
            ["scheduler.lr_warmup_iters=1", "scheduler.lr_warmup_fraction=0.1"],
            ["lr_warmup_iters", "lr_warmup_fraction"],
        ),
        (["run.model=a", "checkpoint.pretrained_checkpoint=/b"], ["run.model=a", "pretrained_checkpoint=/b"]),
        (["run.model=a", "recipe.random_start=0"], ["run.model=a", "recipe.random_start=0"]),
        (["train.eval_iters=1", "validation.eval_iters=2"], ["train.eval_iters=1", "validation.eval_iters=2"]),
    ],
)
def test_two_that_are_typed_together_are_refused_and_both_named(load, typed, named):
    with pytest.raises(ConfigError) as error:
        load("", *typed)
    assert all(name in error.value.message for name in named)
    assert "command line" in error.value.message
    assert error.value.hint


def test_two_in_one_file_are_refused_with_their_lines(load):
    with pytest.raises(ConfigError) as error:
        load("train:\n  train_iters: 5\n  num_epochs: 2\n")
    assert "mine.yaml:3" in error.value.message
    assert "mine.yaml:4" in error.value.message


def test_an_older_name_of_a_key_is_the_key(load):
    loaded = load("train: {eval_interval: 7}", "train.eval_iters=3")
    assert (loaded.config.validation["eval_interval"], loaded.config.validation["eval_iters"]) == (7, 3)
    assert "eval_iters" not in loaded.config.train


def test_adapters_may_be_given_as_one_word(load):
    assert load("peft: dora").config.peft.scheme == "dora"
    assert load("peft: {dim: 8}", "peft=lora").config.peft.dim == 32  # a section that is given whole
    both = load("", "peft=dora", "peft.dim=16").config.peft
    assert (both.scheme, both.dim) == ("dora", 16)
    assert "in_proj" not in both.target_modules
    assert load("peft: lora", "peft=null").config.peft is None
    with pytest.raises(ConfigError, match=r"peft\.scheme"):
        load("", "peft=lara")


def test_a_typed_word_brings_what_lora_yaml_says_below_what_the_user_says(load):
    plain = load("", "peft=lora").config
    assert (plain.optimizer["lr"], plain.model["expert_model_parallel_size"]) == (1e-4, 1)
    own = load("optimizer: {lr: 5.0e-5}", "peft=lora", "model.expert_model_parallel_size=4").config
    assert (own.optimizer["lr"], own.model["expert_model_parallel_size"]) == (5e-5, 4)
    assert load("", "peft={scheme: lora}").config.optimizer["lr"] == 1e-5
    assert load_config("lora", ["peft=null"], schema=SftConfig).config.peft is None


def value(tree, key):
    for part in key.split("."):
        tree = tree.get(part) if tree else None
    return tree


def test_below_a_value_there_is_nothing_to_find():
    tree = attach_origin({"a": {"b": 1}, "c": None}, "here")
    found = {key: find(tree, key) for key in ("a", "a.b", "a.b.c", "c.d", "d", "d.e.f")}
    assert {key: plain(node) for key, node in found.items() if node is not None} == {"a": {"b": 1}, "a.b": 1}


def test_what_is_taken_out_leaves_what_stands_next_to_it():
    tree = attach_origin({"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4}, "here")
    assert plain(_without(tree, ["a", "b", "c"])) == {"a": {"b": {"d": 2}, "e": 3}, "f": 4}
    assert plain(_without(tree, ["f"])) == {"a": {"b": {"c": 1, "d": 2}, "e": 3}}


def layer_of(tree):
    return attach_origin(tree, "mine.yaml:1")


@pytest.mark.parametrize(
    ("tree", "given"),
    [
        ({"a": 0, "b": 5}, ["b"]),
        ({"a": 5, "b": 0}, ["a"]),
        ({"a": 0}, ["a"]),
        ({"a": 0, "b": 0}, ["a", "b"]),
        ({"a": 1, "b": 2}, ["a", "b"]),
        ({"a": None}, []),
        ({}, []),
    ],
)
def test_zero_is_not_given_where_another_is(tree, given):
    assert Alternatives("the warm-up", ("a", "b"), zero_is_off=True).find_given(layer_of(tree)) == given


def test_only_the_first_place_of_two_settings_is_not_repeated():
    layer = merge(layer_of({"a": 1}), attach_origin({"b": 2, "c": 3}, "mine.yaml:2"))
    layer = merge(layer, attach_origin({"c": 3}, "command line"))
    with pytest.raises(ConfigError, match=r"^mine\.yaml:1: a=1 and b=2 \(mine\.yaml:2\) and c=3 set x twice"):
        _refuse_two("x", layer, ("a", "b", "c"))
    _refuse_two("x", layer, ("a",))


@pytest.mark.parametrize(("key", "other"), [("train.train_iters", True), ("train", True), ("train.seed", False)])
def test_a_key_with_another_spelling_is_known(key, other):
    assert has_other_spellings(key, SftConfig) is other
