import pytest

from nemotron.cli import console
from nemotron.errors import UserError

SENTENCE = "one two three four five six seven eight nine ten eleven twelve thirteen"


@pytest.mark.parametrize(
    "show",
    [
        console.out,
        console.raw,
        lambda text: console.content(text, "+ "),
        lambda text: console.command("Next: ", [text]),
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


def test_the_log_of_a_job_is_shown_without_colours_and_with_lines_that_it_overwrote(capsys):
    console.log("\x1b[1mPrepared\x1b[0m\r\n1 of 2\r2 of 2\n\x1b[2J\n")
    assert capsys.readouterr().out == "Prepared\n1 of 2\n2 of 2\n\\u001b[2J\n"


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


def test_off_a_terminal_a_line_stays_a_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console.out(SENTENCE, fg="green")
    assert capsys.readouterr().out == f"{SENTENCE}\n"


def test_on_a_terminal_sentences_wrap_between_words_and_keep_their_indentation(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console.out(f"  {SENTENCE}")
    assert terminal.readouterr().out.splitlines() == [
        "  one two three four five six seven",
        "  eight nine ten eleven twelve thirteen",
    ]


def test_an_error_wraps_under_its_own_text(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    console.error(UserError(SENTENCE))
    assert terminal.readouterr().err.splitlines()[:2] == [
        "error: one two three four five six seven",
        "       eight nine ten eleven twelve",
    ]


def test_only_the_label_of_an_error_has_a_colour(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console.error(UserError(SENTENCE))
    first, *others = terminal.readouterr().err.splitlines()
    assert first.startswith("\x1b[31m\x1b[1merror:\x1b[0m one two")
    assert not any("\x1b[31m" in line for line in others)


def test_raw_lines_never_wrap(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console.raw(SENTENCE)
    assert terminal.readouterr().out == f"{SENTENCE}\n"


def test_somebodys_text_keeps_its_margin_and_every_character(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = "x" * 50 + " 日本語" * 10
    console.content(text, "+ ")
    lines = terminal.readouterr().out.splitlines()
    assert all(line.startswith("+ ") for line in lines)
    assert "".join(line[2:] for line in lines) == text


def test_a_long_command_can_still_be_pasted(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console.command("Next: ", ["nemotron", "super3", "sft", "run.data=SFTDataArtifact-sft:v1", "a=b c"])
    shown = terminal.readouterr().out
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.removeprefix("Next: ").replace("\\\n", "").split() == [
        *("nemotron", "super3", "sft", "run.data=SFTDataArtifact-sft:v1", "'a=b", "c'"),
    ]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_unwanted(terminal, monkeypatch, name, value):
    console.out("text", fg="green")
    assert "\x1b[" in terminal.readouterr().out
    monkeypatch.setenv(name, value)
    console.out("text", fg="green")
    console.error(UserError("text"))
    console.table([("1", "2")], header=("a", "b"))
    assert "\x1b" not in "".join(terminal.readouterr())
