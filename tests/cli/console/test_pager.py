import io
import subprocess
from types import SimpleNamespace

import pytest

from nemotron.cli import console
from nemotron.cli.console import pager


@pytest.fixture
def screen_of_24_lines(terminal, monkeypatch):
    monkeypatch.setenv("LINES", "24")
    return terminal


def test_what_fits_the_screen_is_printed(screen_of_24_lines, monkeypatch):
    monkeypatch.setenv("PAGER", "false")
    with console.use_pager():
        console.out("one line")
    assert screen_of_24_lines.readouterr().out == "one line\n"


def test_longer_results_go_through_the_pager_with_their_colours(screen_of_24_lines, monkeypatch, tmp_path):
    shown = tmp_path / "shown"
    monkeypatch.setenv("PAGER", f"tee {shown}")
    with console.use_pager():
        for number in range(100):
            console.out(str(number), fg="green")
    assert [line.strip("\x1b[32m0") for line in shown.read_text().splitlines()][-1] == "99"
    assert shown.read_text().count("\x1b[32m") == 100


@pytest.mark.parametrize("pager", ["false", "head -1"])
def test_leaving_the_pager_ends_the_work_quietly(screen_of_24_lines, monkeypatch, pager):
    monkeypatch.setenv("PAGER", pager)
    with console.use_pager():
        for number in range(1_000_000):
            console.out(str(number))
        pytest.fail("the work went on although nobody looks")


def test_the_command_ends_when_the_user_leaves_the_pager(monkeypatch):
    """Ctrl-C stops a search in less, and is not the end."""
    answers = iter([KeyboardInterrupt, KeyboardInterrupt, None])

    def wait():
        if (answer := next(answers)) is not None:
            raise answer

    stream = pager._LateStream(["less"], 1)
    less = SimpleNamespace(stdin=io.StringIO(), wait=wait)
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **options: less)
    stream.write("one\ntwo\nthree\n")
    assert less.stdin.getvalue() == "one\ntwo\nthree\n"
    stream.finish()
    assert less.stdin.closed
    assert next(answers, "waited") == "waited"


@pytest.mark.parametrize("pager", ["", "cat", "no-such-pager"])
def test_no_pager_is_no_pager(screen_of_24_lines, monkeypatch, pager):
    monkeypatch.setenv("PAGER", pager)
    with console.use_pager():
        for number in range(100):
            console.out(str(number))
    assert screen_of_24_lines.readouterr().out.count("\n") == 100


def test_whoever_reads_a_pipe_gets_everything(capsys, monkeypatch):
    monkeypatch.setenv("PAGER", "false")
    with console.use_pager():
        for number in range(100):
            console.out(str(number))
    assert capsys.readouterr().out.count("\n") == 100
