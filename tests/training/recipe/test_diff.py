"""What runs against the recipe it came from, on configs built like Megatron-Bridge's."""

from dataclasses import dataclass, field

from nemotron.training.recipe.diff import Change, differences, what_runs


@dataclass
class Optimizer:
    lr: float = 5e-6
    bf16: bool = False


@dataclass
class Precision:
    bf16: bool = True

    def finalize(self):
        pass

    def setup(self, model, optimizer, ddp):
        optimizer.bf16 = self.bf16


@dataclass
class Container:
    optimizer: Optimizer = field(default_factory=Optimizer)
    model: Optimizer = field(default_factory=Optimizer)
    ddp: Optimizer = field(default_factory=Optimizer)
    mixed_precision: Precision | None = field(default_factory=Precision)
    env_vars: dict = field(default_factory=dict)


def test_what_mixed_precision_sets_counts_and_the_config_is_left_alone():
    container = Container()
    assert what_runs(container)["optimizer.bf16"] is True
    assert container.optimizer.bf16 is False


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
