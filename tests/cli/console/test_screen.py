"""Where output goes."""

import os

import pytest

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
