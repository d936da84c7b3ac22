"""What `finetune()` of Megatron-Bridge is called with, and in which state, with stand-ins for what it is made of."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.training import finetune as room
from nemotron.training.config import LossConfig, RecipeConfig, RunConfig, SftConfig, TestSplitConfig


class World:
    """A call of `run_finetune`; `steps` has what happened, `open` what was in force when Megatron trained."""

    def __init__(self, monkeypatch):
        self.steps, self.open, self.said = [], [], []
        self.first, self.stopped = True, False
        self.container = SimpleNamespace(checkpoint=SimpleNamespace(save="save", async_save=True), logger="logger")
        self.data = SimpleNamespace(pad_to_multiple=1)
        self.plan = SimpleNamespace(
            start=SimpleNamespace(checkpoint=None), schedule="schedule", valid_packs=3, train_iters=10
        )
        self.run = SimpleNamespace(
            output=Path("out/run"), checkpoints=Path("out/run/checkpoints"), base=None, finished=0
        )
        signals = SimpleNamespace(callback=lambda: "signals")
        line = SimpleNamespace(callbacks=lambda: ["of the line"])
        bridge = {
            "check_release": lambda: self.steps.append("release"),
            "name_what_is_missing": lambda: self.within("named"),
            "installed": lambda: line,
        }
        ours = {
            "bridge": SimpleNamespace(**bridge),
            "keep_sockets_short": lambda: self.steps.append("sockets"),
            "begin_check": lambda data: SimpleNamespace(callback=lambda: ("shards", data)),
            "fingerprint_saves": lambda config_class: self.steps.append(("fingerprints", config_class)),
            "is_first": lambda: self.first,
            "is_first_here": lambda: self.first,
            "heed_signals": lambda say: self.within("signals", signals),
            "use_backend": lambda backend: self.within(backend, lambda container: self.steps.append("adapted")),
            "collect_rarely": lambda: self.within("no collector"),
            "Startup": self.startup,
            "explain_failures": lambda *arguments: self.within(
                ("explained", *arguments), SimpleNamespace(stopped=self.stopped)
            ),
        }
        for name, value in ours.items():
            monkeypatch.setattr(room, name, value)
        base = "nemotron.training"
        parts = {
            "megatron.bridge.training.finetune": {"finetune": self.train},
            f"{base}.objective.empty_batches": {"skip_empty_batches": lambda step: ("skips empty", step)},
            f"{base}.objective.forward_step": {"TwoStageStep": lambda *a, **options: ("step", *a, options)},
            f"{base}.recipe.build": {"build_recipe": self.build},
            f"{base}.reporting.heldout_evaluation": {"evaluate_test_split": lambda *arguments: [("test", *arguments)]},
            f"{base}.reporting.metrics": {"MetricsWriter": lambda *arguments: ("writer", *arguments)},
            f"{base}.reporting.trackers": {
                "log_curves_to": lambda opened: self.within(("curves", opened)),
                "open_mlflow": lambda logger: self.steps.append(("mlflow", logger)),
            },
            f"{base}.weights.random_init": {"make_starting_checkpoint": lambda *arguments: ("made", *arguments)},
        }
        put_modules(monkeypatch, parts)

    @contextlib.contextmanager
    def within(self, name, value=None):
        self.open.append(name)
        yield value
        self.open.remove(name)

    def startup(self, say):
        return SimpleNamespace(step=say, follow_setup=lambda: self.within("setup"))

    def build(self, config, plan, data, run, origins, start):
        assert (plan, data, run, origins) == (self.plan, self.data, self.run, {"a": "b"})
        self.steps.append("built")
        self.start = start
        return SimpleNamespace(container=self.container, changes=lambda: ["a change"])

    def train(self, container, step, callbacks):
        assert container is self.container
        self.steps.append("trained")
        self.step, self.callbacks, self.in_force = step, callbacks, [*self.open]

    def begin(self, **sections):
        loaded = SimpleNamespace(config=SftConfig(**sections), origins={"a": "b"})
        stopped = room.run_finetune(
            loaded, self.plan, self.data, self.run, "torch", self.said.append, "on record", "the W&B run",
        )  # fmt: skip
        assert self.open == []
        return stopped


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


STEP = ("step", "schedule", {"pads_conversations": False, "sample_unit": "sequence"})


def test_megatron_trains_with_our_step_and_callbacks(world, capsys):
    assert world.begin() is False
    writer = ("writer", Path("out/run"), 3, STEP, "on record")
    assert world.step == STEP
    assert world.callbacks == [
        "of the line",
        "signals",
        ("skips empty", STEP),
        writer,
        ("shards", world.data),
    ]
    explained = ("explained", writer, Path("out/run/train.log"), Path("out/run/checkpoints"))
    assert world.in_force == ["signals", "named", "torch", ("curves", "the W&B run"), "setup", explained]
    fingerprints = ("fingerprints", SimpleNamespace)
    assert world.steps == ["release", "sockets", "built", fingerprints, "adapted", ("mlflow", "logger"), "trained"]
    assert len(world.said) == 3  # a line for each step of the start
    assert world.container.checkpoint == SimpleNamespace(save="save", async_save=True)
    assert capsys.readouterr().out == "a change\n"


def test_a_signal_that_stopped_training_is_told(world):
    world.stopped = True
    assert world.begin() is True


@pytest.mark.parametrize(("multiple", "pads"), [(1, False), (2, True)])
def test_the_step_knows_how_data_is_padded_and_counted(world, multiple, pads):
    world.data.pad_to_multiple = multiple
    world.begin(loss=LossConfig(sample_unit="conversation"))
    assert world.step == ("step", "schedule", {"pads_conversations": pads, "sample_unit": "conversation"})


def test_a_run_that_only_evaluates_saves_nothing(world):
    """Megatron-Bridge refuses to save in the background without a folder."""
    world.run.finished = 10
    world.begin()
    assert world.container.checkpoint == SimpleNamespace(save=None, async_save=False)


def test_the_test_split_is_evaluated_where_it_is_asked_for(world):
    world.begin(test=TestSplitConfig(enabled=True))
    writer = ("writer", Path("out/run"), 3, STEP, "on record")
    assert world.callbacks[-1] == ("test", world.data, STEP, writer)


@pytest.mark.parametrize(("first", "verify"), [(False, True), (True, False)])
def test_shards_are_checked_once_on_a_node_unless_nobody_wants_it(world, first, verify):
    world.first = first
    world.begin(run=RunConfig(verify_data=verify))
    assert not [callback for callback in world.callbacks if callback[0] == "shards"]


def test_another_rank_does_not_say_how_the_recipe_was_changed(world, capsys):
    world.first = False
    world.begin()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("checkpoint", "seed", "base", "start"),
    [
        (None, None, None, None),
        (None, None, "the base", "the base"),
        ("given", 0, None, "given"),
        (None, 0, "the base", ("made", "model", Path("out/start"), 0)),
        ("given", None, "the base", "given"),
    ],
)
def test_a_run_starts_from_what_is_given_or_made_or_what_its_adapters_belong_to(world, checkpoint, seed, base, start):
    world.plan.start.checkpoint = checkpoint
    world.run.base = base and SimpleNamespace(folder=base)
    world.begin(recipe=RecipeConfig(hf_model="model", random_start=seed))
    assert world.start == start
