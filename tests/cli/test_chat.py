"""`model chat` and `sft --try` around a model that is made up: what is asked, and what is shown where."""

import importlib
import io
import json
import subprocess
from types import SimpleNamespace

import pytest
from tests.training.generation.test_reply import Scripted

from nemotron.cli.app import run
from nemotron.training.generation import find_export, speaker


@pytest.fixture
def says(monkeypatch, tmp_path):
    """Let the model in `tmp_path` say these; returns what it was asked."""

    def script(*replies, **options):
        model = Scripted(*replies, **options)
        monkeypatch.setattr(find_export, "find_export", lambda *_: tmp_path)
        monkeypatch.setattr(speaker, "TransformersSpeaker", lambda folder, **_: model)
        monkeypatch.setattr(speaker, "refuse_without_transformers", lambda: None)
        return model.prompts

    return script


def type_in(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(text.encode())))


def test_piped_the_answer_goes_to_stdout_and_the_thought_to_stderr(says, capsys):
    says("seven\n</think>", "7<|im_end|>")
    assert run(["super3", "model", "chat", "run", "--prompt", "How many?"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "7\n"
    assert "seven" in shown.err


def test_a_prompt_comes_from_stdin(says, monkeypatch, capsys):
    asked = says("7<|im_end|>")
    type_in(monkeypatch, "How many\nlegs?\n")
    assert run(["super3", "model", "chat", "run", "--thinking", "off"]) == 0
    assert asked == ["How many\nlegs?<think></think>"]
    assert capsys.readouterr().out == "7\n"


def test_json_has_all_of_each_reply(says, capsys):
    says("a\n</think>", "b<|im_end|>", "c\n</think>", "d<|im_end|>")
    assert run(["super3", "model", "chat", "run", "-p", "1", "-p", "2", "--json"]) == 0
    replies = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(reply["prompt"], reply["thought"], reply["answer"]) for reply in replies] == [
        ("1", "a", "b"),
        ("2", "c", "d"),
    ]


def test_what_would_act_on_a_terminal_is_escaped(says, capsys):
    says("\x1b[2J</think>", "\x1b]0;title\x07<|im_end|>")
    assert run(["super3", "model", "chat", "run", "-p", "1"]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\\u001b]0;title" in shown.out


def test_a_conversation_keeps_its_answers(says, monkeypatch, capsys):
    asked = says("a\n</think>", "b<|im_end|>", "c\n</think>", "d<|im_end|>")
    lines = iter(["One?", "Two?", ""])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    assert run(["super3", "model", "chat", "run", "--system", "Be brief."]) == 0
    assert [prompt.partition("<think>")[0] for prompt in asked[::2]] == ["One?", "Two?"]
    assert capsys.readouterr().out.split() == ["b", "d"]


@pytest.mark.parametrize(
    "line",
    [["--thinking", "of"], ["--thinking", "off", "--budget", "9"], ["--budget", "0"], ["-p", " "]],
)
def test_options_that_make_no_sense_are_refused_before_a_model_is_loaded(says, capsys, line):
    asked = says("never")
    assert run(["super3", "model", "chat", "run", "-p", "1", *line]) == 2
    assert capsys.readouterr().err
    assert not asked


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(speaker, "is_there", lambda name: name != "transformers")
    assert run(["super3", "model", "chat", "run", "-p", "1"]) == 1
    assert "pip install transformers" in capsys.readouterr().err


def test_a_model_that_does_not_fit_says_how_much_it_takes(monkeypatch, tmp_path, capsys):
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.truncate(3 * 2**40)  # sparse: no disk is used
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(speaker, "free_memory", lambda: 2**30)
    assert run(["super3", "model", "chat", str(tmp_path), "-p", "1"]) == 1
    shown = capsys.readouterr().err
    assert f"{3 * 2**40:,}" in shown
    assert "vllm serve" in shown


@pytest.fixture
def training(monkeypatch):
    """`sft` without its training; the commands that it starts afterwards."""
    started, sft = [], importlib.import_module("nemotron.cli.super3.sft")
    monkeypatch.setattr(sft, "refuse_before_torch", lambda _: None)  # there is no data
    monkeypatch.setattr(sft, "train_here", lambda *_: started.append("train"))
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: started.append(command[2:]) or SimpleNamespace(returncode=0)
    )
    return started


def test_prompts_are_tried_when_training_has_ended(training):
    assert run(["super3", "sft", "-c", "tiny", "run.output_dir=mine", "--try", "Hi", "--try=- and?"]) == 0
    assert training == ["train", ["nemotron", "super3", "model", "chat", "mine", "--prompt=Hi", "--prompt=- and?"]]


@pytest.mark.parametrize("line", [["--batch", "cluster"], ["--run", "cluster"], ["--dry-run"]])
def test_prompts_are_refused_where_no_model_will_be(training, capsys, line):
    assert run(["super3", "sft", "-c", "tiny", "--try", "Hi", *line]) == 2
    assert "--try" in capsys.readouterr().err
    assert not training


@pytest.mark.parametrize("thinking", ["on", "off", "low"])
def test_thinking_is_on_off_or_low(says, thinking):
    says("hm\n</think>", "7<|im_end|>")
    assert run(["super3", "model", "chat", "run", "-p", "How many?", "--thinking", thinking]) != 2
