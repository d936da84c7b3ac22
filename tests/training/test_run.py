"""The order of a run and what comes of it, with stand-ins for the steps, each of which has tests of its own."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.errors import Problem, UserError
from nemotron.training import run as room
from nemotron.training.config import RunConfig, SftConfig, TestSplitConfig
from nemotron.training.reporting.report import live
from nemotron.training.weights.export_run import Recorded

ITERATIONS = 10


class World:
    """A run of ten iterations: set what is found before it, train, look at `steps`."""

    def __init__(self, monkeypatch, output):
        self.output, self.steps, self.records = output, [], []
        self.finished, self.trained_to, self.tested = 0, ITERATIONS, ()
        self.first, self.stopped, self.folder_of_test = True, False, None
        self.missing, self.problems, self.machine, self.foreign_code = [], [], [], []
        self.plan = SimpleNamespace(train_iters=ITERATIONS, notes=["note of the plan"])
        self.data = SimpleNamespace(folder=lambda split: self.folder_of_test if split == "test" else None)
        self.start = SimpleNamespace(megatron="the start")
        self.backend = SimpleNamespace(name="cpu", notes=("note of the backend",))
        self.run = SimpleNamespace(
            output=output, checkpoints=output / "checkpoints", base="the base", newest="the newest",
            count_finished="count", look_again=self.look_again,
        )  # fmt: skip
        for name in vars(World):
            if not name.startswith("__") and hasattr(room, name):
                monkeypatch.setattr(room, name, getattr(self, name))
        monkeypatch.setattr(live, "is_first", self.is_first)

    def begin(self, config=None, on_record=None):
        config = config or SftConfig(run=RunConfig(backend="torch"), checkpoint={"save_interval": 5})
        self.loaded = SimpleNamespace(config=config, name="mine", to_yaml=lambda: "the: config\n")
        vars(self.run).update(finished=self.finished, tested=self.tested)
        return room.train(self.loaded, on_record)

    def note(self, name, *arguments):
        self.steps.append((name, *arguments))

    def named(self, name):
        return [step[1:] for step in self.steps if step[0] == name]

    # What is found before a run.
    def find_start(self, config):
        return self.start

    def find_data(self, config, name):
        self.note("data", name)
        return self.data, self.missing

    def find_run_folder(self, config, data, start):
        assert (data, start) == (self.data, self.start)
        return self.run

    def choose_backend(self, asked):
        self.note("backend", asked)
        return self.backend

    def count_ranks(self):
        return 4

    def check_inputs(self, config, data, start, ranks, run):
        assert (data, start, ranks, run) == (self.data, self.start, 4, self.run)
        return None if self.problems else self.plan, self.problems

    def check_machine(self, config, data, start, run, plan, backend):
        assert (data, start, run, backend) == (self.data, self.start, self.run, self.backend)
        return self.machine

    def describe_resume(self, run):
        return ["note of resuming"]

    def describe_changes(self, config, run):
        return ["note of a change"]

    def find_code_to_load(self, *checkpoints):
        self.note("looked for code", *checkpoints)
        return self.foreign_code

    def is_first(self):
        return self.first

    def is_first_here(self):
        return self.first

    # What is held while it trains.
    @contextlib.contextmanager
    def wandb_run(self, loaded, run, *, has_work):
        assert (loaded, run) == (self.loaded, self.run)
        self.note("wandb", has_work)
        record_end = lambda *arguments, **options: self.note("wandb ends", *arguments, options)  # noqa: E731
        yield SimpleNamespace(describe=lambda: ["note of W&B"], opened="the W&B run", record_end=record_end)

    @contextlib.contextmanager
    def hold(self, run, minutes):
        self.note("locked", minutes, self.output.is_dir())
        yield run
        self.note("unlocked")

    @contextlib.contextmanager
    def mask_output(self, log):
        self.note("log", log)
        yield

    # What trains, and what is made of it.
    def describe_start(self, loaded, plan, data, notes):
        assert (loaded, plan, data) == (self.loaded, self.plan, self.data)
        return notes

    def keep_report(self, folder, interval, on_record):
        return (folder, interval, on_record)

    @contextlib.contextmanager
    def report_session(self, folder, facts, count, *, is_writer):
        self.note("session", folder, facts, count, is_writer)
        self.session = SimpleNamespace(stopped=None)
        yield self.session

    def run_finetune(self, loaded, plan, data, run, backend, say, record, opened):
        assert (loaded, plan, data, run) == (self.loaded, self.plan, self.data, self.run)
        self.note("finetune", backend, record, opened)
        say("a line of training")
        for name in ("metrics", "validation", "test"):
            (self.output / f"{name}.jsonl").write_text(json.dumps({"iteration": 1, "of": name}) + "\n")
        self.finished = self.trained_to
        return self.stopped

    def look_again(self):
        return SimpleNamespace(iteration=self.finished, checkpoint=Path("iter") if self.finished else None)

    def write_report(self, files):
        self.note("report", files.folder)
        (self.output / "report.html").touch()

    def record_model(self, finished):
        assert (finished.loaded, finished.plan, finished.data, finished.folder) == (
            *(self.loaded, self.plan, self.data),
            self.run,
        )
        self.note("model", finished.checkpoint, finished.records)
        return Recorded("model:3", Path("hf"), "export:1")

    def hand_over(self, output):
        self.note("handed over", output)


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path / "new" / "run")


NOTES = ["note of resuming", "note of a change", "note of the backend", "note of W&B"]
RECORDS = {name: [{"iteration": 1, "of": name}] for name in ("metrics", "validation", "test")}


def test_a_run_from_start_to_end(world):
    seen = []

    def on_record(kind, record):
        seen.append((kind, record))

    result = world.begin(on_record=on_record)
    output = world.output
    evaluated = {"validation": RECORDS["validation"], "test": RECORDS["test"]}
    assert world.steps == [
        ("data", "mine"),
        ("backend", "torch"),
        ("looked for code", "the start", "the base", "the newest"),
        ("wandb", True),
        ("locked", 240, True),
        ("log", output / "train.log"),
        ("session", output, ["note of the plan", *NOTES], "count", True),
        ("finetune", "cpu", (output, 5, on_record), "the W&B run"),
        ("report", output),
        ("model", Path("iter"), RECORDS),
        ("handed over", output),
        ("unlocked",),
        ("wandb ends", evaluated, {"stopped": False}),
    ]
    assert seen == [
        ("start", {"train_iters": 10, "finished": 0, "notes": ["note of the plan", *NOTES]}),
        ("line", {"text": "a line of training"}),
    ]
    assert (output / "config.yaml").read_text() == "the: config\n"
    assert result == room.TrainResult(
        plan=world.plan,
        output_dir=output,
        checkpoint=output / "checkpoints",
        metrics=output / "metrics.jsonl",
        records=RECORDS["metrics"],
        validation=RECORDS["validation"],
        test=RECORDS["test"],
        report=output / "report.html",
        resumed_from=0,
        finished=10,
        stopped=False,
        artifact="model:3",
        hf_folder=Path("hf"),
        hf_artifact="export:1",
    )


def test_a_run_that_is_stopped_records_no_model(world):
    world.stopped, world.trained_to = True, 6
    result = world.begin()
    assert (result.finished, result.stopped, result.artifact, result.hf_folder) == (6, True, "", None)
    assert world.session.stopped is True
    assert not world.named("model")
    assert world.named("handed over")
    assert world.named("wandb ends")[0][-1] == {"stopped": True}


def test_a_run_that_is_stopped_before_its_evaluation_is_not_complete(world):
    """All iterations are saved, but the test split was not evaluated."""
    world.stopped = True
    result = world.begin()
    assert (result.finished, result.artifact, world.named("model")) == (10, "", [])


def test_a_finished_run_is_exported_without_training(world):
    """It may have been trained further than now asked for."""
    world.finished = 12
    world.output.mkdir(parents=True)
    (world.output / "report.html").touch()
    result = world.begin()
    assert [step[0] for step in world.steps[3:]] == [
        *("wandb", "locked", "model", "handed over", "unlocked", "wandb ends")
    ]
    assert world.named("wandb") == [(False,)]
    assert (result.resumed_from, result.finished, result.stopped) == (10, 10, False)
    assert (result.hf_folder, result.hf_artifact) == (Path("hf"), "export:1")


def test_a_run_without_a_checkpoint_has_no_model(world, monkeypatch):
    monkeypatch.setattr(world.run, "look_again", lambda: SimpleNamespace(iteration=10, checkpoint=None))
    assert world.begin().artifact == ""


@pytest.mark.parametrize(
    ("enabled", "folder", "tested", "evaluates"),
    [(True, "test", (), True), (True, "test", (10,), False), (True, None, (), False), (False, "test", (), False)],
)
def test_a_trained_run_only_evaluates_what_it_has_not(world, enabled, folder, tested, evaluates):
    world.finished, world.folder_of_test, world.tested = ITERATIONS, folder, tested
    world.begin(config=SftConfig(test=TestSplitConfig(enabled=enabled)))
    assert len(world.named("finetune")) == evaluates


def test_a_run_that_has_iterations_left_trains_them(world):
    world.finished = 4
    result = world.begin()
    assert (result.resumed_from, result.finished) == (4, 10)
    assert world.named("finetune")


def test_every_problem_is_shown_before_anything_is_written(world):
    world.missing, world.problems = [Problem("No data.", "a")], [Problem("No plan.", "b")]
    world.machine, world.foreign_code = [Problem("No GPU.", "c")], [Problem("Code.", "d")]
    with pytest.raises(UserError) as error:
        world.begin()
    assert all(text in str(error.value) for text in ("No data.", "No plan.", "No GPU.", "Code."))
    assert not world.output.exists()


@pytest.mark.parametrize("problem", ["missing", "machine", "foreign_code"])
def test_one_problem_is_enough(world, problem):
    setattr(world, problem, [Problem("Not this.", "hint")])
    with pytest.raises(UserError, match="Not this"):
        world.begin()
    assert not world.named("wandb")


def test_another_rank_trains_but_writes_and_says_nothing(world, capsys):
    world.first = False
    result = world.begin()
    assert not (world.output / "config.yaml").exists()
    assert not {"looked for code", "report", "model", "handed over"} & {step[0] for step in world.steps}
    assert world.named("session")[0][-1] is False
    assert world.named("log") == [(None,)]
    assert result.records == RECORDS["metrics"]
    assert capsys.readouterr().out == ""


def test_without_a_progress_display_notes_and_lines_are_printed(world, capsys):
    world.begin()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [*(f"note: {note}" for note in ["note of the plan", *NOTES]), "a line of training"]
