from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.config import ConfigError
from nemotron.config.convert import convert
from nemotron.config.located import Located, attach_origin
from nemotron.config.yaml_file import parse_value


@dataclass
class Section:
    size: int
    names: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.size < 0:
            raise ValueError("size must not be negative")


def from_text(hint, text):
    """The value of `key=text`."""
    return convert(hint, parse_value(text, "command line"), "key")


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "5", 5),
        (int, "1e3", 1000),
        (int, "'5'", 5),
        (float, "5", 5.0),
        (float, "1e-5", 1e-5),
        (float, "'1e-5'", 1e-5),
        (float, ".inf", float("inf")),
        (bool, "true", True),
        (bool, "'False'", False),
        (bool, "'TRUE'", True),
        (str, "x", "x"),
        (str, "007", "007"),
        (str, "1e3", "1e3"),
        (str, "true", "true"),
        (str | None, "null", None),
        (str | None, "5", "5"),
        (int | float, "5", 5),
        (int | float, "0.5", 0.5),
        (int | float, "'0.5'", 0.5),
        (int | Literal["auto"], "auto", "auto"),
        (int | Literal["auto"], "2", 2),
        (int | Literal["1", "2"], "'1'", "1"),  # a choice as it is, before a number that it could become
        (Literal["a", "b"], "b", "b"),
        (Literal["1", "2"], "1", "1"),
        (Literal[1, 2], "2", 2),
        (list[str], "[a, 1]", ["a", "1"]),
        (list[int] | None, "[1, 2]", [1, 2]),
        (dict[str, Any], "{a: [1, {b: null}]}", {"a": [1, {"b": None}]}),
        (dict[str, Any] | str | None, "bf16_mixed", "bf16_mixed"),
        (dict[str, int], "{a: 1}", {"a": 1}),
        (Any, "[1]", [1]),
        (Section, "{size: 1, names: [x]}", Section(1, ["x"])),
        (Section | None, "{size: 1}", Section(1)),
        (list[Section], "[{size: 1}, {size: 2}]", [Section(1), Section(2)]),
    ],
)
def test_a_value_becomes_what_the_field_wants(hint, text, value):
    converted = from_text(hint, text)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("hint", "text", "message"),
    [
        (int, "five", 'key must be a whole number, not "five".'),
        (int, "1.5", "key must be a whole number, not 1.5."),
        (int, "true", "key must be a whole number, not true."),
        (int, ".inf", "key must be a whole number, not .inf."),
        (float, "x", 'key must be a number, not "x".'),
        (bool, "1", "key must be true or false, not 1."),
        (bool, "yes", 'key must be true or false, not "yes".'),
        (str, "null", "key must be text, not null."),
        (str, "[a]", "key must be text, not ['a']."),
        (int, "{a: 1}", "key must be a whole number, not a section."),
        (int | None, "x", 'key must be a whole number or null, not "x".'),
        (int | float, "x", 'key must be a number, not "x".'),
        (int | Literal["auto"], "x", 'key must be a whole number or "auto", not "x".'),
        (Literal[1, 2], "true", "key must be 1 or 2, not true."),
        (Literal["a", "b"], "c", 'key must be "a" or "b", not "c".'),
        (list[str], "a", 'key must be a list of texts, not "a".'),
        (list[int], "[1, x]", 'key.1 must be a whole number, not "x".'),
        (dict[str, Any], "5", "key must be a section, not 5."),
        (Section, "5", "key must be a section, not 5."),
        (Section, "{size: x}", 'key.size must be a whole number, not "x".'),
        (Section | None, "{size: x}", 'key.size must be a whole number, not "x".'),
        (Section, "{names: []}", "key.size is required."),
        (str, "???", "key has no value."),
    ],
)
def test_a_wrong_type_is_refused_by_key_value_and_origin(hint, text, message):
    with pytest.raises(ConfigError) as caught:
        from_text(hint, text)
    assert caught.value.message == f"command line: {message}"


@pytest.mark.parametrize(
    ("hint", "text", "advice"),
    [
        (int, "", "Write a whole number, such as 8."),
        (int | None, "x", "Write a whole number, such as 8, or null."),
        (float, "x", "Write a number, such as 0.5."),
        (bool, "maybe", "Write true or false."),
        (str, "null", "Write text."),
        (list[str], "a", "Write a list, such as [a, b]."),
        (Literal["a", "b"], "zzz", "Write one of these."),
        (int | Literal["auto"], "x", 'Write a whole number, such as 8, or "auto".'),
        (Section | None, "x", "Write its keys, as key.NAME=VALUE, or null."),
    ],
)
def test_a_wrong_type_is_refused_with_what_to_write(hint, text, advice):
    with pytest.raises(ConfigError) as caught:
        from_text(hint, text)
    assert caught.value.hint == advice


def test_a_wrong_choice_lists_the_choices_and_suggests_one():
    with pytest.raises(ConfigError) as caught:
        from_text(Literal["first_fit", "best_fit", "none"], "firstfit")
    assert caught.value.message == 'command line: key must be "first_fit", "best_fit" or "none", not "firstfit".'
    assert caught.value.hint == 'Did you mean "first_fit"?'


def test_a_refusal_by_the_section_itself_names_the_section():
    with pytest.raises(ConfigError, match="key: size must not be negative"):
        from_text(Section, "{size: -1}")


def test_a_type_that_no_schema_may_use_is_the_programmers_mistake():
    with pytest.raises(TypeError, match="bytes"):
        from_text(bytes, "x")


@given(st.floats(allow_nan=False) | st.integers(-(10**15), 10**15))
def test_numbers_survive_as_numbers_and_as_text(number):
    written = Located(number, "run.yaml:1", repr(number))
    assert convert(float, written, "key") == number
    assert convert(float, attach_origin(repr(number), "run.yaml:1"), "key") == number
    assert convert(str, written, "key") == repr(number)
