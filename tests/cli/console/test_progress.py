import contextlib
import io
import re

import pytest

from nemotron.cli import console
from nemotron.cli.console import progress as progress_module
from nemotron.cli.console.screen import cells


def test_progress_off_a_terminal_is_a_line_now_and_then_and_one_at_the_end(capsys, monkeypatch):
    seconds = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(seconds))
    with console.Progress() as progress:
        for done in (1, 2, 3, 4, 5):
            progress.update("pack", done, 5, "shards", note="x")
    assert capsys.readouterr().err == "pack: 3 of 5 shards, x, 0:11 left\npack: 5 of 5 shards, x, took 0:13\n"


def test_rates_and_time_left_count_from_where_the_work_began(capsys, monkeypatch):
    seconds = iter([0.0, 0.0, 100.0, 110.0, 210.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(seconds))
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


@pytest.mark.parametrize(
    ("size", "shown"), [(2_500_000, "2.5 of 2.5 MB"), (1_000_000, "1.0 of 1.0 MB"), (999_900, "999.9 of 999.9 kB")]
)
def test_bytes_are_shown_as_megabytes_or_kilobytes(capsys, size, shown):
    with console.Progress() as progress:
        progress.update("read", size, size, "bytes")
    assert capsys.readouterr().err == f"read: {shown}\n"


def test_progress_goes_to_the_stream_of_its_start_while_others_redirect(capsys):
    with console.Progress() as progress, contextlib.redirect_stderr(io.StringIO()):
        progress.line("still here")
    assert capsys.readouterr().err == "still here\n"


def test_on_a_terminal_there_are_bars_and_lines_above_them(terminal):
    with console.Progress() as progress:
        progress.update("tokenize", 3, 10, "shards", note="loss 1.5")
        progress.line("a [line] that stays")
    shown = terminal.readouterr().err
    assert "a [line] that stays" in shown
    assert "tokenize" in shown
    assert "3 of 10 shards" in shown
    assert "loss 1.5" in shown


def test_a_bar_fits_80_columns_with_its_rate_and_its_time(terminal):
    with console.Progress() as progress:
        for done in (0, 10_000_000, 20_000_000):
            progress.update("tokenize chat", done, 1e8, "bytes", made={"rows": done // 500, "tokens": done // 4})
    plain = re.sub(r"\x1b\[[0-9;?]*\w", "", terminal.readouterr().err)
    *_, last = [line for line in plain.replace("\r", "\n").splitlines() if "20.0 of 100.0 MB" in line]
    assert "tokens/s" in last
    assert "rows/s" not in last  # the first to go where there is little room
    assert cells(last) <= 80


def test_what_has_no_known_end_is_shown_until_something_moves(terminal):
    with console.Progress() as progress:
        progress.wait_for("look at the inputs")
        progress.line("one line")
        assert "look at the inputs" in terminal.readouterr().err
        progress.update("pack", 1, 2, "shards")
        terminal.readouterr()
    assert "look at the inputs" not in terminal.readouterr().err


def test_a_dumb_terminal_gets_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with console.Progress() as progress:
        progress.update("pack", 2, 2, "shards")
    assert terminal.readouterr().err == "pack: 2 of 2 shards\n"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (36_061, "10:01:01")],
)
def test_a_time_has_minutes_and_perhaps_hours(seconds: float, shown: str):
    assert progress_module._clock(seconds) == shown


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0.4, "0"), (1234, "1,234"), (9999, "9,999"), (10_000, "10.0k"), (999_949, "999.9k"), (1e6, "1.0M")],
)
def test_a_rate_has_about_three_digits(rate: float, shown: str):
    assert progress_module._short(rate) == shown


def test_of_many_bars_only_those_that_move_are_shown(terminal):
    with console.Progress() as progress:
        for number in range(9):
            progress.update(f"part {number}", number, 8, "shards")
            shown = progress._bars and [task.visible for task in progress._bars.tasks]
            assert shown == [True] * (number + 1) if number < 8 else shown == [False, *[True] * 7, False]
