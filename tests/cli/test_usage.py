import pytest
import typer

from nemotron.cli.app import app
from nemotron.cli.usage import UsageError, arrange

ROOT = typer.main.get_command(app)


def arranged(line):
    return arrange(ROOT, line.split()).arguments


@pytest.mark.parametrize(
    "line",
    [
        "super3 sft -c tiny --dry-run a=1 b=2",
        "super3 -c tiny sft --dry-run a=1 b=2",
        "-c tiny super3 --dry-run sft a=1 b=2",
        "super3 sft a=1 -c tiny b=2 --dry-run",
        "super3 sft -ctiny -d a=1 b=2",
        "super3 sft -c=tiny -d a=1 b=2",
        "super3 sft --config tiny --dry-run a=1 b=2",
        "super3 sft --config=tiny a=1 b=2 -d",
        "super3 sft -dc tiny a=1 b=2",
        "super3 sft -dctiny a=1 b=2",
    ],
)
def test_options_stand_anywhere_and_in_every_spelling(line):
    long = {"-c": "--config", "-d": "--dry-run"}
    words = [long.get(word, word) for word in arranged(line)]
    assert words[:2] == ["super3", "sft"]
    assert sorted(words[2:5]) == ["--config", "--dry-run", "tiny"]
    assert words[words.index("--config") + 1] == "tiny"
    assert words[5:] == ["a=1", "b=2"]


def test_a_value_may_begin_with_a_dash_after_an_equals_sign_or_be_a_number():
    assert arranged("super3 sft --config=-odd") == ["super3", "sft", "--config", "-odd"]
    assert arranged("super3 pipe --sample -5") == ["super3", "pipe", "--sample", "-5"]
    assert arranged("super3 data inspect -0.5 -") == ["super3", "data", "inspect", "-0.5", "-"]


def test_what_follows_two_dashes_is_left_alone():
    assert arranged("super3 data inspect -- -c") == ["super3", "data", "inspect", "--", "-c"]


@pytest.mark.parametrize(
    "line", ["", "super3", "super3 data", "super3 data prep", "super3 -h", "super3 --help sft a=1"]
)
def test_a_group_alone_and_help_anywhere_ask_for_help(line):
    assert arranged(line) is None


def test_help_is_that_of_the_deepest_command_named():
    assert arrange(ROOT, ["super3", "--help", "data", "prep"]).path == ["nemotron", "super3", "data", "prep"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("super3 sfft", '"sfft"', 'Did you mean "sft"?'),
        ("super3 zzz", '"zzz"', "sft, pipe"),
        ("pipe -c tiny", '"pipe"', "nemotron super3 pipe"),
        ("super3 -c tiny", "nemotron super3", "sft, pipe"),
        ("super3 sft --confg tiny", "There is no option --confg.", 'Did you mean "--config"?'),
        ("super3 sft -x", "-x", "--help"),
        ("super3 sft --train.iters=5", "--train.iters", "train.iters=5"),
        ("super3 sft --zzz=5", "--zzz", "zzz=5"),
        (
            "super3 --sample 3 sft",
            "--sample",
            "nemotron super3 pipe, nemotron super3 data inspect, nemotron super3 data prep sft",
        ),
        ("super3 sft --version", "--version", ": nemotron."),
        ("super3 sft --run", "--run", "--run"),
        ("super3 sft --run --dry-run", "--run", "--run"),
        ("super3 sft --dry-run=yes", "--dry-run", "--dry-run"),
        ("super3 sft -d=yes", "-d", "-d"),
    ],
)
def test_a_line_that_does_not_parse_is_answered(line, message, hint):
    with pytest.raises(UsageError) as caught:
        arranged(line)
    assert message in caught.value.message
    assert hint in caught.value.hint
