import contextlib
import io
import sys

import pytest

from nemotron.cli import console
from nemotron.errors import UserError


def test_a_table_aligns_text_left_and_numbers_right(capsys):
    console.table([("a", "1"), ("long name", "1,000")], header=("name", "rows"), right=[1])
    assert capsys.readouterr().out == "  name        rows\n  a              1\n  long name  1,000\n"


def test_an_empty_table_is_nothing(capsys):
    console.table([])
    assert capsys.readouterr().out == ""


def test_progress_off_a_terminal_is_a_line_now_and_then_and_one_at_the_end(capsys, monkeypatch):
    seconds = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(seconds))
    with console.Progress() as progress:
        for done in (1, 2, 3, 4, 5):
            progress.update("pack", done, 5, "shards", note="x")
    assert capsys.readouterr().err == "pack: 3 of 5 shards, x, 0:11 left\npack: 5 of 5 shards, x, took 0:13\n"


def test_rates_and_time_left_count_from_where_the_work_began(capsys, monkeypatch):
    seconds = iter([0.0, 0.0, 100.0, 110.0, 210.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(seconds))
    with console.Progress() as progress:
        for label in ("a", "b"):  # announced together; of b an earlier run has done half
            progress.update(label, {"a": 0, "b": 5_000_000}[label], 10_000_000, "bytes")
        progress.update("a", 10_000_000, 10_000_000, "bytes", made={"rows": 150, "tokens": 4_000_000})
        progress.update("b", 6_000_000, 10_000_000, "bytes", made={"rows": 500, "tokens": 120_000})
        progress.update("b", 10_000_000, 10_000_000, "bytes", made={"rows": 5500, "tokens": 2_200_000_000})
    assert capsys.readouterr().err.splitlines() == [
        "a: 10.0 of 10.0 MB, 2 rows/s, 40.0k tokens/s, took 1:40",
        "b: 6.0 of 10.0 MB, 50 rows/s, 12.0k tokens/s, 0:40 left",
        "b: 10.0 of 10.0 MB, 50 rows/s, 20.0M tokens/s, took 1:50",
    ]


def test_bytes_are_shown_as_megabytes(capsys):
    with console.Progress() as progress:
        progress.update("read", 2_500_000, 2_500_000, "bytes")
    assert capsys.readouterr().err == "read: 2.5 of 2.5 MB\n"


def test_progress_goes_to_the_stream_of_its_start_while_others_redirect(capsys):
    with console.Progress() as progress, contextlib.redirect_stderr(io.StringIO()):
        progress.line("still here")
    assert capsys.readouterr().err == "still here\n"


def test_on_a_terminal_there_are_bars_and_lines_above_them(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.Progress() as progress:
        progress.update("tokenize", 3, 10, "shards", note="loss 1.5")
        progress.line("a [line] that stays")
    shown = terminal.getvalue()
    assert "a [line] that stays" in shown
    assert "tokenize" in shown
    assert "3 of 10 shards" in shown
    assert "loss 1.5" in shown


@pytest.mark.parametrize(
    "show",
    [
        console.out,
        console.note,
        console.heading,
        lambda text: console.error(UserError(text, text)),
        lambda text: console.table([[text]]),
        lambda text: console.Progress().line(text),
        lambda text: console.Progress().update(text, 1, 1, "rows"),
    ],
)
def test_text_from_outside_cannot_act_on_the_terminal(capfd, show):
    show("a\x1b[2Jb\rc\bd\x07e\u202ef\udc80")
    shown = "".join(capfd.readouterr())
    assert r"a\u001b[2Jb\u000dc\u0008d\u0007e\u202ef\udc80" in shown


def test_a_cell_of_a_table_stays_one_line(capsys):
    console.table([["a\nb", "c\td"]])
    assert capsys.readouterr().out == "  a\\nb  c\\td\n"


def test_secrets_are_masked_in_whatever_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("SOME_API_TOKEN", "correct-horse")
    console.out("with correct-horse")
    console.error(UserError("s3://KEY:battery@bucket is gone.", "Ask correct-horse."))
    console.table([("token", "hf_abcdefghijklmnop")])
    printed = capsys.readouterr()
    assert "***" in printed.out
    assert all(secret not in printed.out + printed.err for secret in ("correct-horse", "battery", "hf_abc"))
