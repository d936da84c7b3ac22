"""What TAB offers, as a shell asks: the words, and the number of the one under the cursor."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.cli.app import run
from nemotron.cli.completion import known
from nemotron.cli.completion.install import show
from nemotron.launch.profiles.load import check_profiles
from nemotron.lineage import log_artifact


@pytest.fixture
def complete(monkeypatch, capsys):
    """Complete the last word, as zsh asks: with the help of each candidate."""

    def ask(*words: str, shell: str = "zsh") -> dict[str, str]:
        monkeypatch.setenv("_NEMOTRON_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["nemotron", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert run([]) == 0
        found = [line.partition("\t") for line in capsys.readouterr().out.splitlines() if line]
        return {value: text for value, _, text in found}

    return ask


def test_commands_with_what_they_do(complete):
    assert complete("super3", "")["sft"].startswith("Fine-tune")
    assert set(complete("super3", "da")) == {"data"}


def test_options_of_the_command(complete):
    assert {"--config", "--run", "--advise", "--help"} <= set(complete("super3", "sft", "--"))
    assert "--advise" not in complete("super3", "data", "prep", "sft", "--")


def test_options_may_stand_before_the_command(complete):
    assert set(complete("-c", "tiny", "super3", "-d", "pi")) == {"pipe"}


@pytest.mark.parametrize("option", [("-c", "ti"), ("--config", "ti"), ("--config=ti",)])
def test_configs_are_completed_by_name(complete, option):
    values = {value.removeprefix("--config=") for value in complete("super3", "sft", *option)}
    assert {"tiny", "tiny_lora"} <= values


def test_configs_are_those_of_the_command_and_yaml_files(complete, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").touch()
    Path("data.jsonl").touch()
    assert "lora" not in complete("super3", "data", "prep", "sft", "-c", "")
    assert set(complete("super3", "data", "prep", "sft", "-c", "m")) == {"mine.yaml"}


def test_profiles_of_env_toml(complete, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("env.toml").write_text('[big]\nexecutor = "local"\n[wandb]\nproject = "p"\n[small]\nexecutor = "local"\n')
    assert complete("super3", "sft", "--batch", "") == {"big": "local", "small": "local"}
    assert set(check_profiles()) == {"big", "small"}


def test_keys_are_completed_section_by_section_and_then_their_values(complete):
    assert "optimizer." in complete("super3", "sft", "opt")
    assert "optimizer.lr=" in complete("super3", "sft", "optimizer.l")
    assert set(complete("super3", "sft", "loss.sample_unit=")) == {
        "loss.sample_unit=sequence",
        "loss.sample_unit=conversation",
    }
    assert {"peft.", "peft="} == set(complete("super3", "sft", "peft"))
    assert {"peft=lora", "peft=dora"} <= set(complete("super3", "sft", "peft="))


def test_a_section_that_a_word_may_stand_for_is_completed_as_both(complete):
    assert set(complete("super3", "sft", "pef")) == {"peft.", "peft="}
    assert set(complete("super3", "sft", "los")) == {"loss."}


def test_jobs_are_completed_by_their_names_and_by_the_ids_that_they_have(monkeypatch):
    jobs = [SimpleNamespace(id="17", stage="sft", state="RUNNING"), SimpleNamespace(id="", stage="prep", state="")]
    record = SimpleNamespace(name="sft-1", profile="big", jobs=jobs)
    monkeypatch.setattr("nemotron.launch.jobs.records.read_records", lambda: [record])
    assert [*known.jobs((), "")] == [("sft-1", "big"), ("17", "sft, running")]


def test_pipe_knows_the_keys_of_both_stages(complete):
    assert "pack_size=" in complete("super3", "pipe", "pack")
    assert "train." in complete("super3", "pipe", "tr")


def test_data_and_keys_are_completed_for_data_prep(complete, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("overlong.jsonl").touch()
    Path("over").mkdir()
    assert set(complete("super3", "data", "prep", "sft", "over")) == {"overlong=", "overlong.jsonl", "over/"}


def test_artifacts_of_the_kind_that_is_asked_for(complete, tmp_path, monkeypatch):
    monkeypatch.setenv("NEMOTRON_ARTIFACTS", str(tmp_path / "records"))
    for name, kind in (("my-data", "dataset"), ("my-model", "model")):
        (tmp_path / name).mkdir()
        log_artifact(name=name, type=kind, path=tmp_path / name, root=tmp_path / "records")
    assert set(complete("super3", "sft", "run.data=")) == {f"run.data=my-data{end}" for end in ("", ":v1", ":latest")}
    assert "my-model" in complete("artifacts", "show", "")


def test_bash_splits_at_equals_signs_and_colons_and_keeps_what_is_before_them(complete):
    assert set(complete("super3", "sft", "loss.sample_unit", "=", "conv", shell="bash")) == {"conversation"}
    assert set(complete("super3", "sft", "peft", "=", shell="bash")) >= {"lora", "dora"}
    assert set(complete("super3", "sft", "--config", "=", "tiny_l", shell="bash")) == {"tiny_lora"}


@pytest.mark.parametrize("words", [("nonsense", ""), ("super3", "sft", "no.such.section.")])
def test_what_is_unknown_has_no_candidates(complete, words):
    assert complete(*words) == {}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_ask_by_the_variables_that_are_answered(shell):
    for variable in ("_NEMOTRON_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
        assert variable in show(shell)


def test_bash_itself_completes_a_value(tmp_path):
    command = tmp_path / "nemotron"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nemotron "$@"\n')
    command.chmod(0o755)
    script = show("bash") + (
        f"COMP_WORDS=({command} super3 sft loss.sample_unit = se); COMP_CWORD=5\n"
        f"_nemotron_completion {command} 2>/dev/null; echo ${{COMPREPLY[@]}}\n"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "sequence\n"


def test_a_file_name_is_no_shell_code_and_no_pattern(tmp_path):
    """What TAB puts on the line is run with it: `$(touch x)` may be the name of a file that came with the data."""
    command = tmp_path / "nemotron"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nemotron "$@"\n')
    command.chmod(0o755)
    names = {"$(touch x).jsonl", "x;touch x", "`touch x`", 'it\'s "a".jsonl', "*", "ü.jsonl"}
    (tmp_path / "data").mkdir()
    for name in names:
        (tmp_path / "data" / name).touch()
    script = show("bash") + (
        f"COMP_WORDS=({command} super3 data inspect ''); COMP_CWORD=4\n"
        f"_nemotron_completion {command} 2>/dev/null; eval printf '%s\\\\n' ${{COMPREPLY[@]}}\n"
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path / "data", capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()) == names


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_that_no_line_can_hold_are_not_offered(complete, tmp_path, monkeypatch, shell):
    monkeypatch.chdir(tmp_path)
    for name in ("a\nb.jsonl", "a\tb.jsonl", "a\x1b[31m.jsonl", "a\u202e.jsonl", "ab.jsonl"):
        Path(name).touch()
    assert set(complete("super3", "data", "inspect", "a", shell=shell)) == {"ab.jsonl"}


def test_damaged_files_cost_only_what_they_name(complete, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEMOTRON_ARTIFACTS", str(tmp_path / "records"))
    (tmp_path / "data").mkdir()
    log_artifact(name="whole", type="dataset", path=tmp_path / "data", root=tmp_path / "records")
    for name, content in (("broken", b"\xff{"), ("other", b"[]")):
        (tmp_path / "records" / name).mkdir()
        (tmp_path / "records" / name / "v1.json").write_bytes(content)
    (tmp_path / "records" / "whole" / "v².json").write_text("{}")
    assert set(complete("super3", "sft", "run.data=")) == {f"run.data=whole{end}" for end in ("", ":v1", ":latest")}
    for content in (b"\xff", b"[[[", b"a = " + b"[" * 100_000):
        Path("env.toml").write_bytes(content)
        assert complete("super3", "sft", "--run", "") == {}


def test_an_unexpected_mistake_is_silence(monkeypatch, capfd):
    """Whatever the shell asks, a person at a prompt sees no traceback."""
    monkeypatch.setenv("_NEMOTRON_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "nemotron su")
    monkeypatch.setenv("COMP_CWORD", "no number")
    monkeypatch.setattr("nemotron.cli.completion.answer.find_place", lambda *_: 1 / 0)
    assert run([]) == 1
    assert capfd.readouterr() == ("", "")


def test_installing_twice_adds_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("nemotron.cli.completion.install.find_shell", lambda: "bash")
    (tmp_path / ".bashrc").write_text("alias ll='ls -l'")
    assert run(["--install-completion"]) == run(["--install-completion"]) == 0
    first, second = (tmp_path / ".bashrc").read_text().splitlines()
    assert first == "alias ll='ls -l'"
    assert Path(second.split("'")[1]).read_text() == show("bash")
