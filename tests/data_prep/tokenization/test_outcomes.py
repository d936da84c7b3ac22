"""What a part says of the rows that it drops: all counted and listed, the first of each reason to look at."""

import io
from typing import Any

import orjson
import pytest

from nemotron.data_prep.drop_reasons import DropReason
from nemotron.data_prep.notes import EXAMPLES
from nemotron.data_prep.sources import Row
from nemotron.data_prep.tokenization.outcomes import EXCERPT, Dropped, DroppedWriter, excerpt, shorten

EMPTY = DropReason.NO_TRAINED_TURN


def test_every_row_is_listed_and_the_first_of_each_reason_are_examples() -> None:
    file, opened = io.BytesIO(), []
    writer = DroppedWriter(lambda: opened.append(file) or file)
    for line in range(EXAMPLES + 2):
        writer.add(Dropped(line, EMPTY, f"row {line}"), Row(line, {"n": line}))
    writer.add(Dropped(99, DropReason.BAD_JSON, "no JSON"), None)
    lines = [orjson.loads(line) for line in file.getvalue().splitlines()]
    assert [line["line"] for line in lines] == [*range(EXAMPLES + 2), 99]
    assert lines[1] == {"line": 1, "reason": str(EMPTY), "detail": "row 1"}
    assert writer.reasons == {str(EMPTY): EXAMPLES + 2, str(DropReason.BAD_JSON): 1}
    assert [example.line for example in writer.examples] == [*range(EXAMPLES), 99]
    assert (writer.examples[1].detail, writer.examples[1].text) == ("row 1", '{"n": 1}')
    assert len(opened) == 1


def test_the_example_is_of_the_row_itself_though_a_later_one_was_read() -> None:
    writer = DroppedWriter(io.BytesIO)
    writer.add(Dropped(3, EMPTY, "", messages=["its own"]), Row(5, "another"))
    writer.add(Dropped(4, EMPTY, ""), Row(5, "another"))
    assert [example.text for example in writer.examples] == ['["its own"]', ""]


def test_a_text_of_exactly_the_length_is_whole() -> None:
    assert shorten("a" * EXCERPT) == "a" * EXCERPT
    assert shorten("a" * (EXCERPT + 1)) == "a" * EXCERPT + "\u2026"


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row(0, None, text=b'{"a": "\xff\x1b[31m"}\r\n'), '{"a": "\ufffd\\u001b[31m"}'),
        (Row(0, {"a": "東", "b": {1}}), '{"a": "東", "b": "{1}"}'),
        (Row(0, {"a": nested(200)} | {("no", "text"): 1}), ""),
        (Row(0, None), ""),
    ],
)
def test_a_row_is_shown_as_it_was_written_or_read(row: Row, text: str) -> None:
    assert excerpt(row) == text


def test_a_value_that_holds_itself_is_not_shown() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert excerpt(Row(0, endless)) == ""


def test_a_value_that_is_nested_too_deeply_is_not_shown() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert excerpt(Row(0, deep)) == ""
