"""What this package wrote is read as the types that it was written from, or refused with the place."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from nemotron.files.typed import typed


class Place(TypedDict):
    file: str
    line: NotRequired[int]


@dataclass
class Split:
    packs: int
    fill: float
    places: list[Place]


@dataclass
class Run:
    name: str
    splits: list[Split]
    kind: Literal["a", "b"]
    sizes: dict[str, int]
    share: float | None = None
    jobs: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    done: bool = False


PLACES: list[Place] = [{"file": "f", "line": 1}, {"file": "g"}]
RUN = Run("x", [Split(3, 0.5, PLACES)], "a", {"m": 1}, 1, ("j",), {"any": [None]}, True)


@dataclass
class Level:
    number: Literal[1, 2]


def test_true_is_not_the_number_1():
    assert typed(Level, {"number": 1}) == Level(1)
    with pytest.raises(ValueError, match="number is none of 1, 2"):
        typed(Level, {"number": True})


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, "x", "text, not a whole number"),
        (int, 1.5, "a number, not a whole number"),
        (int, True, "true or false, not a whole number"),
        (int, None, "null, not a whole number"),
        (int, {}, "an object, not a whole number"),
        (int, [], "a list, not a whole number"),
        (int, b"", "something else, not a whole number"),
        (str, 5, "a whole number, not text"),
        (float, True, "true or false, not a number"),
        (bool, 0, "a whole number, not true or false"),
        (list, "x", "text, not a list"),
        (dict, [], "a list, not an object"),
        (Level, [], "a list, not an object"),
    ],
)
def test_a_message_has_what_is_there_and_what_should_be(hint: type, value: object, message: str):
    with pytest.raises(ValueError, match=f"^the file's content is {message}$"):
        typed(hint, value)


@pytest.mark.parametrize(
    ("hint", "value", "found"),
    [
        (list, [1, "a"], [1, "a"]),
        (list[int], [1, 2], [1, 2]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (Sequence[int], [1, 2], (1, 2)),
        (dict, {"a": 1}, {"a": 1}),
        (Mapping[str, Level], {"a": {"number": 1}}, {"a": Level(1)}),
        (Any, {"a": [None]}, {"a": [None]}),
    ],
)
def test_lists_and_objects_are_those_of_the_type(hint: Any, value: object, found: object):
    assert typed(hint, value) == found


def test_a_field_that_may_be_missing_has_its_type():
    assert typed(dict[str, Place], {"a": {"file": "x", "line": 3}}) == {"a": {"file": "x", "line": 3}}


def test_fields_with_a_default_may_be_missing_and_of_the_others_the_first_is_named():
    must = {"name": "x", "splits": [], "kind": "a", "sizes": {}}
    assert typed(Run, must) == Run("x", [], "a", {})
    with pytest.raises(ValueError, match=r"^kind is missing"):
        typed(Run, {})
    with pytest.raises(ValueError, match=r"^a is not known"):
        typed(Run, {**must, "b": 1, "a": 2})


def test_what_was_written_is_read_back():
    assert typed(Run, json.loads(json.dumps(asdict(RUN)))) == RUN
    assert typed(Split, {"packs": 1, "fill": 1, "places": []}) == Split(1, 1.0, [])


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("name", 5, "name is a whole number"),
        ("name", None, "name is null"),
        ("kind", "c", "kind is none of a, b"),
        ("splits", {}, "splits is an object"),
        ("splits.0", [], "splits.0 is a list"),
        ("splits.0.packs", "3", "splits.0.packs is text"),
        ("splits.0.packs", True, "splits.0.packs is true or false"),
        ("splits.0.packs", 3.5, "splits.0.packs is a number"),
        ("splits.0.fill", "1", "splits.0.fill is text"),
        ("splits.0.places.1", {"line": 5}, "splits.0.places.1.file is missing"),
        ("splits.0.more", 1, "splits.0.more is not known"),
        ("sizes", {"m": "1"}, "sizes.m is text"),
        ("splits.0.places.0.line", "5", "splits.0.places.0.line is text, not a whole number"),
        ("share", "much", "share is text, not a number"),
        ("jobs", "j", "jobs is text"),
        ("done", 1, "done is a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(path: str, value: object, place: str):
    written = json.loads(json.dumps(asdict(RUN)))
    inside: Any = written
    *above, last = (int(part) if part.isdecimal() else part for part in path.split("."))
    for part in above:
        inside = inside[part]
    inside[last] = value
    with pytest.raises(ValueError, match=f"^{place}"):
        typed(Run, written)


@pytest.mark.parametrize("value", [None, 5, "text", [], {}])
def test_a_whole_file_of_something_else_is_refused(value: object):
    with pytest.raises(ValueError, match=r"the file.s content|is missing"):
        typed(Run, value)


def test_fields_of_a_later_release_may_be_left_out():
    assert typed(Split, {"packs": 1, "fill": 1, "places": [], "new": 2}, ignores_unknown=True) == Split(1, 1, [])
