import errno
import os
import subprocess
import sys

import pytest

from nemotron import doctor
from nemotron.cli import app, configs
from nemotron.errors import UserError

HEAVY = ("torch", "transformers", "nemo_run", "megatron", "omegaconf", "rich", "pydantic", "numpy", "pyarrow", "wandb")


def in_a_new_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["super3", "sft", "--help"], ["super3", "data", "prep", "sft", "-h"]]
)
def test_help_imports_nothing_heavy(arguments):
    printed = in_a_new_process(
        f"import sys; from nemotron.cli.app import run; run({arguments!r})\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert printed.endswith("LOADED []\n")


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, nemotron; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert in_a_new_process(code) == "[]\n"


@pytest.mark.parametrize(
    ("command", "mentions"),
    [
        ("", ["super3", "--version"]),
        ("super3", ["data", "sft", "pipe"]),
        ("super3 data", ["prep", "inspect"]),
        ("super3 data prep", ["sft"]),
        ("super3 data prep sft", ["--config", "--run", "--batch", "--dry-run", "--sample", "--force", "KEY=VALUE"]),
        ("super3 data inspect", ["FILE", "--json"]),
        ("super3 sft", ["--config", "--run", "--batch", "--dry-run", "KEY=VALUE"]),
        ("super3 pipe", ["--config", "--prep-config", "--run", "--batch", "--dry-run", "--sample", "--force"]),
    ],
)
def test_every_level_has_help_with_an_example(capsys, command, mentions):
    assert app.run([*command.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"Usage: nemotron {command}".strip() in printed
    assert "nemotron super3 " in printed.partition("Usage:")[2].partition("\n")[2]
    for word in mentions:
        assert word in printed


def test_version(capsys):
    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nemotron 0.")


def failing(monkeypatch, error):
    """Makes `nemotron super3 pipe` raise `error`."""

    def raise_it(*arguments):
        raise error

    monkeypatch.setattr(configs, "load_prep", raise_it)
    return ["super3", "pipe", "-c", "tiny"]


@pytest.mark.parametrize("place", [None, "report.html"])
def test_a_full_disk_is_no_traceback_whether_or_not_the_error_says_where(capsys, monkeypatch, place):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)
    assert app.run(failing(monkeypatch, full)) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_a_users_mistake_is_two_lines_and_exit_code_1(capsys, monkeypatch):
    assert app.run(failing(monkeypatch, UserError("It is wrong.", "Fix it."))) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: It is wrong.\nhint: Fix it.\n"
    assert printed.out == ""


@pytest.mark.parametrize("how", ["option", "environment"])
def test_debug_shows_the_traceback(monkeypatch, how):
    arguments = failing(monkeypatch, UserError("It is wrong."))
    if how == "option":
        arguments.insert(1, "--debug")
    else:
        monkeypatch.setenv("NEMOTRON_DEBUG", "1")
    with pytest.raises(UserError):
        app.run(arguments)


def test_ctrl_c_is_exit_code_130_without_a_traceback(capsys, monkeypatch):
    assert app.run(failing(monkeypatch, KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip().startswith("Interrupted.")


def test_the_machines_refusal_names_the_file(capsys, monkeypatch):
    assert app.run(failing(monkeypatch, PermissionError(13, "Permission denied", "/data/out"))) == 1
    assert capsys.readouterr().err.startswith("error: /data/out: Permission denied.\n")


def test_a_command_that_comes_to_need_training_names_what_is_not_installed(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "is_there", lambda module: module != "torch")
    assert app.run(failing(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch"))) == 1
    assert "torch" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["torch", "nemotron.gone"])
def test_a_module_that_is_missing_for_no_such_reason_is_a_bug(monkeypatch, name):
    with pytest.raises(ModuleNotFoundError):
        app.run(failing(monkeypatch, ModuleNotFoundError(name=name)))


def test_a_bug_keeps_its_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        app.run(failing(monkeypatch, ZeroDivisionError()))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("super3 pipe --sample 0", "error: --sample is 0."),
        ("super3 pipe --sample=many", "error: --sample is many."),
        ("super3 sft --run a --batch b", "error: --run a and --batch b cannot be used together."),
        ("super3 sft tiny", 'error: "tiny" is not key=value.\nhint: Did you mean -c tiny?'),
        ("super3 sft mine.yaml", 'error: "mine.yaml" is not key=value.\nhint: Did you mean -c mine.yaml?'),
        ("super3 sft lr", 'error: "lr" is not key=value.\nhint: To set it, write lr=VALUE.'),
        ("super3 data inspect", "error: Missing argument 'PATH'."),
        ("super3 pipe run.data=x", "error: pipe trains on the data it prepares, so run.data cannot be set."),
    ],
)
def test_bad_usage_is_exit_code_2(capsys, line, message):
    assert app.run(line.split()) == 2
    assert capsys.readouterr().err.startswith(message)
