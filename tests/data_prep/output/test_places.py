"""From the number of a row in a part to its file and line."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from nemotron.data_prep.output.places import PartPlace, find_places
from nemotron.data_prep.plan import PrepPlan
from nemotron.data_prep.tokenization.part_files import PartReceipt


@pytest.mark.parametrize(("line", "file", "line_in_file"), [(0, "a", 1), (3, "a", 4), (4, "b", 1), (9, "c", 3)])
def test_a_part_of_several_files_numbers_each_from_1(line: int, file: str, line_in_file: int) -> None:
    place = PartPlace(0, "chat", ("a", "b", "c"), [0, 4, 7], lines_before=0)
    assert place.of(line) == {"dataset": "chat", "file": file, "line": line_in_file}


def test_the_lines_of_earlier_parts_of_a_file_come_before() -> None:
    place = PartPlace(0, "chat", ("a",), [0], lines_before=100)
    assert place.of(0) == {"dataset": "chat", "file": "a", "line": 101}


def test_the_parts_of_a_file_follow_each_other_and_each_file_begins_again() -> None:
    def bundle(file: str, *indices: int) -> Any:
        return SimpleNamespace(parts=[SimpleNamespace(file=SimpleNamespace(path=file), index=n) for n in indices])

    def receipt(lines: int) -> PartReceipt:
        return PartReceipt(lines, 0, 0, 0, 0, 0, {}, [], [], {}, None)

    datasets = [
        SimpleNamespace(dataset=SimpleNamespace(name="x"), bundles=[bundle("a", 0), bundle("a", 1), bundle("b", 0)]),
        SimpleNamespace(dataset=SimpleNamespace(name="y"), bundles=[bundle("c", 0)]),
    ]
    plan = cast(PrepPlan, SimpleNamespace(datasets=datasets))
    places = find_places(plan, [[receipt(5), receipt(7), receipt(9)], [receipt(2)]])
    assert [(place.dataset, place.name, place.files, place.lines_before) for place in places] == [
        (0, "x", ("a",), 0), (0, "x", ("a",), 5), (0, "x", ("b",), 0), (1, "y", ("c",), 0),
    ]  # fmt: skip
