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
