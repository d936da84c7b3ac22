import re

import pytest

from nemotron.config import ConfigError
from nemotron.config.layers import list_ancestors, read_layers
from nemotron.config.located import plain
from nemotron.training.config import SftConfig


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_a_config_is_its_parents_in_order_with_its_own_values_on_top(write):
    write("base.yaml", "train: {iters: 1, batch: 8}\nmodules: [a, b]")
    write("big.yaml", "train: {batch: 64}")
    mine = write("mine.yaml", "defaults: [base, big]\ntrain: {iters: 5}\nmodules: [c]")
    assert plain(read_layers(mine)) == {"train": {"iters": 5, "batch": 64}, "modules": ["c"]}


def test_ancestors_are_listed_nearest_first_and_of_two_the_one_that_wins(write):
    write("root.yaml", "a: 1")
    write("base.yaml", "defaults: root")
    write("big.yaml", "defaults: [base]")
    assert list_ancestors(write("mine.yaml", "defaults: [base, big]")) == ["big", "base", "base", "root"]
    write("there.yaml", "defaults: back")
    assert list_ancestors(write("back.yaml", "defaults: there")) == ["there", "back"]


@pytest.mark.parametrize("defaults", ["defaults: null", "defaults: []", "defaults:", ""])
def test_a_config_may_have_no_parent(write, defaults):
    assert plain(read_layers(write("mine.yaml", f"{defaults}\na: 1"))) == {"a": 1}


def test_a_parent_too_replaces_what_its_own_parent_says_in_another_way(write):
    write("root.yaml", "train: {num_epochs: 3}")
    write("base.yaml", "defaults: root\ntrain: {train_iters: 5}")
    tree = plain(read_layers(write("mine.yaml", "defaults: base"), schema=SftConfig))
    assert tree == {"train": {"num_epochs": None, "train_iters": 5}}


def test_values_keep_the_file_they_come_from(write):
    write("base.yaml", "a: 1\nb: 2")
    tree = read_layers(write("mine.yaml", "defaults: base\nb: 3"))
    assert (tree.value["a"].origin, tree.value["b"].origin) == ("base.yaml:1", "mine.yaml:2")


def test_parents_have_parents_and_may_be_shared(write):
    write("root.yaml", "a: root\nb: root")
    write("left.yaml", "defaults: root\na: left")
    write("right.yaml", "defaults: root\nb: right")
    # `right` comes later, and brings the root's `a` with it.
    assert plain(read_layers(write("mine.yaml", "defaults: [left, right]"))) == {"a": "root", "b": "right"}


def test_null_replaces_a_section(write):
    write("base.yaml", "peft: {dim: 32}")
    assert plain(read_layers(write("mine.yaml", "defaults: base\npeft: null"))) == {"peft": None}


def test_the_shipped_default_is_within_reach_of_a_file_anywhere(write):
    tree = plain(read_layers(write("default.yaml", "defaults: default\nextra: 1")))
    assert tree["extra"] == 1
    assert tree["train"]["global_batch_size"] == 64


def test_a_circle_is_refused(write):
    write("a.yaml", "defaults: b")
    b = write("b.yaml", "\ndefaults: a")
    with pytest.raises(ConfigError, match=r'a\.yaml:1: .*"b"'):
        read_layers(b)


def test_an_unknown_parent_is_named_with_the_nearest(write):
    write("base.yaml", "")
    with pytest.raises(ConfigError) as caught:
        read_layers(write("mine.yaml", "x: 1\ndefaults: [bsae]"))
    assert re.match(r'mine\.yaml:2: .*"bsae"', caught.value.message)
    assert 'Did you mean "base"?' in caught.value.hint


def test_defaults_must_be_names(write):
    with pytest.raises(ConfigError, match=r"mine\.yaml:1: defaults"):
        read_layers(write("mine.yaml", "defaults: {base: 1}"))
