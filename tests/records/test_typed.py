"""What this package wrote is read as the types that it was written from, or refused with the place."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from nemotron.records.typed import typed


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
        ("share", "much", "share is text"),
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
