"""What commands show of their results: every number stands where it belongs. Results are made up."""

import contextlib
import importlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.cli import console
from nemotron.cli.app import run
from nemotron.cli.super3.advice import report_advice
from nemotron.cli.super3.data import prepared
from nemotron.training.config import RunConfig, SftConfig

# The packages have the commands under these names.
chat = importlib.import_module("nemotron.cli.super3.model.chat")
import_room = importlib.import_module("nemotron.cli.super3.data.import_")
rollouts = importlib.import_module("nemotron.cli.super3.data.rollouts")
ARTIFACT = SimpleNamespace(name="SFTDataArtifact-sft", reference="SFTDataArtifact-sft:v3")


def words(text):
    """The cells of each line that has any."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def registered(**changes):
    split = SimpleNamespace(packs=1000, sequences=2000, tokens=400_000, supervised_tokens=100_000)
    facts = {
        "splits": {"train": split}, "pack_size": 512, "is_guessed": False, "folder": Path("/packed"), "notes": [],
        "tokenizer": "org/tokenizer", "artifact": ARTIFACT,
    }  # fmt: skip
    return SimpleNamespace(**{**facts, **changes})


@pytest.mark.parametrize(("unchanged", "heading"), [(False, "Prepared"), (True, "Already prepared ")])
def test_prepared_data_is_shown_with_its_place_its_report_and_its_artifact(monkeypatch, capsys, unchanged, heading):
    for part in ("_show_datasets", "_show_splits", "_show_modes", "_show_dropped", "_show_noticed"):
        monkeypatch.setattr(prepared, part, lambda metadata: None)
    monkeypatch.setattr(prepared, "_notes", lambda metadata, plan: ["A note."])
    slow = SimpleNamespace(name="tokenizers", reason="it has added tokens")
    made: Any = SimpleNamespace(
        metadata=None, plan=None, unchanged=unchanged, encoder=slow, splits_dir=Path("/out/splits"), artifact=ARTIFACT
    )
    prepared.show_prepared(made)
    shown = capsys.readouterr()
    first, *others = words(shown.out)
    assert first.startswith(heading)
    assert words(shown.err) == [
        "A note.",
        "Encoded with tokenizers, which is slower: it has added tokens.",
    ]
    assert others == [
        "data /out/splits",
        "report /out/report.html",
        "artifact SFTDataArtifact-sft:v3",
    ]


def test_registered_packs_are_counted_and_named_with_the_next_command(capsys):
    import_room._show(registered(), None)
    lines = words(capsys.readouterr().out)
    assert "train 1,000 2,000 400,000 25.0% 78.1%" in lines
    assert "pack size 512" in lines
    assert "tokenizer org/tokenizer" in lines
    assert "artifact SFTDataArtifact-sft:v3" in lines
    assert lines[-1] == "Next: nemotron super3 sft"


def test_what_registered_packs_lack_is_part_of_the_next_command(capsys):
    other = SimpleNamespace(name="Mine", reference="Mine:v1")
    import_room._show(registered(artifact=other, tokenizer=None, is_guessed=True, notes=["A note."]), Path("records"))
    shown = capsys.readouterr()
    lines = words(shown.out)
    assert any("512 (from the longest pack; set it with --pack-size)" in line for line in lines)
    assert not any(line.startswith("tokenizer") for line in lines)
    assert "A note." in shown.out + shown.err
    command = "run.data=Mine tokenizer.tokenizer_model=ID_OR_FOLDER run.artifacts=records"
    assert lines[-1] == f"Next: nemotron super3 sft {command}"


def rolled_out(**changes):
    counts = SimpleNamespace(rows=1900, asked=2000, with_reasoning=1500, left_out=Counter(wrong=90, empty=10))
    facts = {"counts": counts, "model": "a model", "rows": "rows.jsonl", "blend": "blend.json", "artifact": ARTIFACT}
    return SimpleNamespace(**{**facts, **changes})


def plan(samples=None):
    prompts = SimpleNamespace(prompts=["a"] * 3, source="math.jsonl")
    return SimpleNamespace(config=SimpleNamespace(prompts=SimpleNamespace(samples=samples)), prompts=prompts)


def test_completions_are_counted_by_what_became_of_them(capsys):
    rollouts._show(plan(), rolled_out())
    shown = capsys.readouterr()
    lines = words(shown.out)
    assert any("1,900 rows of 2,000 completions by a model" in line for line in lines)
    for line in ("rows 1,900", "with a thought 1,500", "wrong 90", "empty 10", "rows rows.jsonl", "blend blend.json"):
        assert line in lines
    assert lines[-1] == "Next: nemotron super3 data prep sft blend_path=blend.json"
    assert "prompts.samples" not in shown.out + shown.err


@pytest.mark.parametrize(("samples", "is_said"), [(3, False), (4, True), (1, False)])
def test_more_prompts_than_there_are_is_said(capsys, samples, is_said):
    rollouts._show(plan(samples), rolled_out())
    shown = capsys.readouterr()
    assert (f"prompts.samples={samples}" in shown.out + shown.err) is is_said


def test_progress_counts_what_this_process_made():
    updates = []
    show = rollouts._report_to(SimpleNamespace(update=lambda *arguments: updates.append(arguments)), "complete")
    show(SimpleNamespace(done=10, total=100, retried=0, tokens=0))
    show(SimpleNamespace(done=15, total=100, retried=1200, tokens=700))
    assert updates == [
        ("complete", 10, 100, "completions", "", {"completions": 0, "tokens": 0}),
        ("complete", 15, 100, "completions", "1,200 retries", {"completions": 5, "tokens": 700}),
    ]


def mode(name, **changes):
    numbers = {"conversations": 1000, "sequences": 2000, "supervised_tokens": 3000, "asked": 0.25, "got": 0.5}
    return SimpleNamespace(mode=name, **{**numbers, **changes})


@pytest.mark.parametrize(("names", "is_shown"), [(["on", "no_reasoning"], False), (["on", "off"], True)])
def test_reasoning_modes_are_shown_where_one_was_chosen(capsys, names, is_shown):
    stats = SimpleNamespace(title="chat", modes=[mode(name, asked=None) for name in names[:1]] + [mode(names[1])])
    prepared._show_modes(SimpleNamespace(datasets=[stats]))
    lines = words(capsys.readouterr().out)
    assert bool(lines) is is_shown
    if is_shown:
        assert lines[-2:] == ["chat on 1,000 2,000 3,000 - 50.0%", "chat off 1,000 2,000 3,000 25.0% 50.0%"]


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["a is missing.", "b differs."], 1)])
def test_verify_lists_what_is_wrong(monkeypatch, capsys, tmp_path, problems, code):
    monkeypatch.setattr("nemotron.data_prep.output.verify.verify", lambda folder: iter(problems))
    assert run(["super3", "data", "verify", str(tmp_path)]) == code
    shown = capsys.readouterr()
    assert all(problem in words(shown.out) for problem in problems)
    assert ("2 things are wrong" in shown.err + shown.out) is bool(problems)


def replying(pieces, **reply):
    facts = {"thought": "", "answer": "7", "was_closed": False, "ended": "stop", "answer_tokens": 1}

    def reply_to(speaker, messages, asked, show):
        for kind, text in pieces:
            show(kind, text)
        return SimpleNamespace(**{**facts, **reply})

    return reply_to


ASKED = SimpleNamespace(budget=1000, most=2000)


def test_on_a_terminal_a_thought_is_dim_and_apart_from_the_answer(monkeypatch):
    shown = []
    pieces = [("thought", "\n Hm"), ("thought", " so."), ("answer", "\n7"), ("answer", " legs")]
    monkeypatch.setattr("nemotron.training.generation.reply.reply_to", replying(pieces))
    monkeypatch.setattr(chat.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(console, "piece", lambda text, **style: shown.append((text, style)))
    chat._answer(None, [], ASKED)
    dim = {"dim": True}
    assert shown == [("Hm", dim), (" so.", dim), ("\n\n", {}), ("7", {}), (" legs", {})]


@pytest.mark.parametrize(
    ("reply", "note"),
    [
        ({}, ""),
        ({"was_closed": True}, "budget of 1,000 tokens"),
        ({"ended": "length"}, "in its answer after 2,000 tokens"),
        ({"ended": "length", "answer_tokens": 0}, "in its thought after 2,000 tokens"),
        ({"answer": ""}, "without an answer"),
    ],
)
def test_why_a_reply_ended_is_noted(capsys, reply, note):
    facts = {"thought": "", "answer": "7", "was_closed": False, "ended": "stop", "answer_tokens": 1}
    chat._note_ending(SimpleNamespace(**{**facts, **reply}), ASKED)
    shown = "".join(capsys.readouterr())
    assert note in shown
    assert bool(shown) is bool(note)


@dataclass(frozen=True)
class Layout:
    """A layout that was found to fit."""

    command_line: str
    overrides: tuple = ("model.tensor_model_parallel_size=2",)

    def describe(self):
        return "two ranks share a model"


@pytest.mark.parametrize(
    ("nproc", "ranks", "pad", "expected"),
    [("auto", None, None, (32, 1)), (4, None, 8, (4, 8)), (4, 16, 8, (16, 8)), ("auto", 16, None, (16, 1))],
)
def test_advice_is_for_the_ranks_and_the_packs_that_there_are(monkeypatch, nproc, ranks, pad, expected):
    asked, shown = [], []

    def advise(config, pack_size, ranks, pad_to_multiple):
        asked.append((pack_size, ranks, pad_to_multiple))
        return [Layout("a=1 b=2"), Layout("")]

    data = None if pad is None else SimpleNamespace(pad_to_multiple=pad)
    monkeypatch.setattr("nemotron.training.counts.find_pack_size", lambda config, data: data and 512)
    monkeypatch.setattr("nemotron.training.parallelism.advise.advise", advise)
    config = SftConfig(run=RunConfig(nproc_per_node=nproc, gpu_memory_gb=80, gpu_headroom_gb=12))
    report = SimpleNamespace(rows=lambda *arguments: shown.append(arguments))
    report_advice(report, SimpleNamespace(config=config), data, ranks)
    pack_size = 4096 if pad is None else 512
    assert asked == [(pack_size, *expected)]
    [(title, rows, facts)] = shown
    assert title == f"Layouts for {expected[0]} ranks of 80 GB and packs of {pack_size:,} tokens"
    text = "two ranks share a model"
    assert rows == [("1", text), ("", "a=1 b=2"), ("2", text), ("", "as configured")]
    assert [layout["overrides"] for layout in facts["layouts"]] == [("model.tensor_model_parallel_size=2",)] * 2


def test_advice_that_nothing_fits_names_the_memory_that_is_left(monkeypatch):
    shown = []
    monkeypatch.setattr("nemotron.training.parallelism.advise.advise", lambda *_, **__: [])
    config = SftConfig(run=RunConfig(gpu_memory_gb=80, gpu_headroom_gb=12))
    report = SimpleNamespace(rows=lambda *arguments: shown.append(arguments))
    report_advice(report, SimpleNamespace(config=config), None, None)
    [(_, [(word, what)])] = shown
    assert word == "nothing fits"
    assert "68 GB" in what


def test_what_data_prep_does_last_is_waited_for_once_all_is_packed(monkeypatch):
    shown, begun = [], []

    def work(name, done):
        return SimpleNamespace(name=name, done=done, total=2, unit="shards", made={"packs": done})

    def prepare(config, on_progress):
        for step in (work("tokenize", 2), work("pack", 1), work("pack", 2)):
            on_progress(step)
        return "the result"

    @contextlib.contextmanager
    def show_work(what):
        yield SimpleNamespace(update=lambda *arguments, made: shown.append((*arguments, made)), wait_for=shown.append)

    monkeypatch.setattr("nemotron.data_prep.pipeline.prepare", prepare)
    monkeypatch.setattr("nemotron.data_prep.preload.start_early", begun.append)
    monkeypatch.setattr(console, "show_work", show_work)
    prep = importlib.import_module("nemotron.cli.super3.data.prep")
    assert prep.prepare_here(SimpleNamespace(config="config", path=Path("mine.yaml"))) == "the result"
    assert begun == ["config"]
    assert shown == [
        ("tokenize", 2, 2, "shards", {"packs": 2}),
        ("pack", 1, 2, "shards", {"packs": 1}),
        ("pack", 2, 2, "shards", {"packs": 2}),
        "write the report and the record",
    ]


@pytest.mark.parametrize(("gpus", "tensor", "lines"), [(0, 1, 0), (8, 4, 0), (1, 4, 1), (6, 4, 1), (0, "four", 0)])
def test_too_few_processes_for_a_layout_are_a_line(monkeypatch, gpus, tensor, lines):
    """A number that is none is refused elsewhere."""
    plan = importlib.import_module("nemotron.cli.super3.training_plan")
    monkeypatch.setattr("nemotron.launch.count_gpus", lambda: gpus)
    model = {"tensor_model_parallel_size": tensor, "pipeline_model_parallel_size": 1, "context_parallel_size": 1}
    found = plan._too_few_processes(SftConfig(train={"global_batch_size": 8}, model=model))
    assert len(found) == lines
    assert all(f"machine: {max(1, gpus)};" in line and "multiple of 4" in line for line in found)
