"""Where output goes."""

import io
import os
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.cli.console import screen
from nemotron.cli.console.screen import is_styled


@pytest.fixture
def pseudoterminal(monkeypatch):
    for name in ("NO_COLOR", "SLURM_UNBUFFEREDIO", "SLURM_PTY_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream
    os.close(ours)


def test_a_terminal_gets_colours(pseudoterminal):
    assert is_styled(pseudoterminal)


def test_the_log_of_a_job_gets_none_although_slurm_writes_it_through_a_pseudoterminal(pseudoterminal, monkeypatch):
    monkeypatch.setenv("SLURM_UNBUFFEREDIO", "1")
    assert not is_styled(pseudoterminal)
    monkeypatch.setenv("SLURM_PTY_PORT", "40000")  # srun --pty: somebody looks
    assert is_styled(pseudoterminal)


def test_what_goes_to_the_pager_is_as_wide_as_the_terminal_behind_it(monkeypatch):
    """The pager's own stream is a pipe; standard output is the terminal that the pager writes to."""
    pager = io.StringIO()
    other: Any = SimpleNamespace(isatty=lambda: True, fileno=lambda: 7)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((100 + descriptor, 24)))
    monkeypatch.delenv("SLURM_UNBUFFEREDIO", raising=False)
    with screen.results_go_to(pager):
        assert screen.width_of(pager) == 101
        assert screen.width_of(other) == 107


@pytest.mark.parametrize(
    ("columns", "asked", "width"),
    [
        ("120", 90, 120),
        ("20", 90, 20),
        ("19", 90, 80),
        ("wide", 90, 90),
        ("", 90, 90),
        ("", 0, 80),
        ("", None, 80),
    ],
)
def test_a_terminal_is_as_wide_as_the_variable_or_the_system_says(monkeypatch, columns, asked, width):
    def ask(descriptor):
        if asked is None:
            raise OSError
        return os.terminal_size((asked, 24))

    monkeypatch.setattr(os, "get_terminal_size", ask)
    monkeypatch.setattr(screen, "is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", columns)
    stream: Any = SimpleNamespace(fileno=lambda: 1)
    assert screen.width_of(stream) == width


def test_a_pipe_has_no_width_and_no_colours(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert screen.width_of(io.StringIO()) is None
    assert not is_styled(io.StringIO())


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("é", 1), ("東京", 4), ("", 0)])
def test_a_wide_character_takes_two_columns(text: str, columns: int):
    assert screen.cells(text) == columns
