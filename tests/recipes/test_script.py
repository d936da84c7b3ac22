"""The scripts a job runs: config in, mistakes reported once, nothing heavy for a helper process."""

import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.exit_codes import INTERRUPTED, STOPPED, STOPPED_MARK
from nemotron.launch.stages import PACKAGE, PREP_SCRIPT, TRAIN_SCRIPT
from nemotron.recipes.script import run_script


@dataclass
class Config:
    seed: int = 1
    name: str = ""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """config('key=value', ...) sets the command line: a config file with seed 2, and these arguments."""
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 2\n")

    def command_line(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["script.py", "--config", str(path), *arguments])

    monkeypatch.delenv("RANK", raising=False)
    return command_line


def test_the_body_gets_the_file_with_the_overrides(config):
    seen = []
    config("name=x")
    run_script(lambda loaded: loaded.config, seen.append, schema=Config)
    assert seen == [Config(seed=2, name="x")]


def test_options_may_stand_among_overrides(config, monkeypatch: pytest.MonkeyPatch):
    seen = []
    config()
    _, option, path = sys.argv
    monkeypatch.setattr(sys, "argv", ["script.py", "name=x", option, path, "seed=3"])
    run_script(lambda loaded: loaded.config, seen.append, schema=Config)
    assert seen == [Config(seed=3, name="x")]


def test_a_section_may_be_given_as_an_option(config):
    seen = []
    config("--name", "x", "seed=3")
    run_script(lambda loaded: loaded.config, seen.append, schema=Config, words=("name",))
    assert seen == [Config(seed=3, name="x")]


def test_a_mistake_is_two_lines_and_exit_code_1(config, capsys: pytest.CaptureFixture[str]):
    config("sed=3")
    with pytest.raises(SystemExit) as caught:
        run_script(print, print, schema=Config)
    assert caught.value.code == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert second == 'hint: Did you mean "seed"?'


@pytest.mark.parametrize(("rank", "lines"), [("0", 2), ("3", 0)])
def test_a_mistake_in_the_config_is_told_by_the_first_rank(config, capsys, monkeypatch, rank: str, lines: int):
    config("sed=3")
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit):
        run_script(print, print, schema=Config)
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_later_mistake_is_told_by_the_rank_that_found_it(config, capsys, monkeypatch):
    def body(_: object) -> None:
        raise UserError("Out of luck.", "Try again.")

    config()
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(SystemExit):
        run_script(body, print, schema=Config)
    assert capsys.readouterr().err == "On rank 3:\nerror: Out of luck.\nhint: Try again.\n"


def test_the_first_rank_shows_the_result(config, monkeypatch):
    shown = []
    config()
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        run_script(lambda loaded: os.environ["RANK"], shown.append, schema=Config)
    assert shown == ["0"]


@pytest.mark.parametrize("script", [PREP_SCRIPT, TRAIN_SCRIPT])
def test_a_helper_process_that_imports_the_script_again_imports_nothing_more(script: Path):
    code = f"import runpy, sys; n = len(sys.modules); runpy.run_path({str(PACKAGE / script)!r}, run_name='__mp_main__')"
    code += "; print([name for name in sys.modules if name.split('.')[0] in ('nemotron', 'torch', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("script", [PREP_SCRIPT, TRAIN_SCRIPT])
def test_the_scripts_say_how_they_are_used(script: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(PACKAGE / script), run_name="__main__")
    assert caught.value.code == 0
    assert "[key=value ...]" in capsys.readouterr().out


def test_a_run_that_was_stopped_has_an_exit_code_of_its_own(config, monkeypatch: pytest.MonkeyPatch):
    config()
    monkeypatch.delenv(STOPPED_MARK, raising=False)
    with pytest.raises(SystemExit) as caught:
        run_script(lambda loaded: None, lambda result: True, schema=Config)
    assert caught.value.code == STOPPED


@pytest.mark.parametrize(("rank", "marked"), [("0", True), ("1", False)])
def test_under_torchrun_the_first_rank_leaves_a_mark_instead(
    config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rank: str, marked: bool
):
    config()
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv(STOPPED_MARK, str(tmp_path / "mark"))
    run_script(lambda loaded: None, lambda result: True, schema=Config)
    assert (tmp_path / "mark").exists() is marked


def test_ctrl_c_is_no_traceback(config, capsys: pytest.CaptureFixture[str]):
    def interrupted(loaded):
        raise KeyboardInterrupt

    config()
    with pytest.raises(SystemExit) as caught:
        run_script(interrupted, print, schema=Config)
    assert caught.value.code == INTERRUPTED
    assert capsys.readouterr().err.startswith("Interrupted.")
