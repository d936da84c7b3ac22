"""Which rows `data inspect` shows."""

import pytest

from nemotron.data_prep.inspection.wanted import Wanted
from nemotron.data_prep.sources import Row
from nemotron.errors import UserError

ROWS = [{"outcome": "kept", "reason": None, "line": n} for n in range(1, 8)]
ROWS[3] = {"outcome": "dropped", "reason": "bad_json", "line": 4}


def lines(**settings: object) -> list[int]:
    return [row["line"] for row in Wanted(**settings).choose(ROWS)]


def row(value: object, error: str | None = None) -> Row:
    return Row(0, value, error)


def test_the_first_rows_the_dropped_ones_and_those_of_a_reason_are_shown():
    assert lines(limit=2) == [1, 2]
    assert lines(only="dropped") == lines(only="bad_json") == [4]
    assert lines(only="kept", limit=4) == [1, 2, 3, 5]


def test_a_sample_is_in_order_and_decided_by_the_seed():
    assert lines(sample=3, seed=1) == lines(sample=3, seed=1) == sorted(lines(sample=3, seed=1))
    assert len({tuple(lines(sample=3, seed=seed)) for seed in range(20)}) > 5
    assert lines(sample=99) == [row["line"] for row in ROWS]


def test_every_row_is_sampled_as_often_as_the_others():
    counts = {line: sum(line in lines(sample=2, seed=seed) for seed in range(700)) for line in range(1, 8)}
    assert all(150 <= count <= 250 for count in counts.values())  # 200 expected, 4 standard deviations


def test_rows_are_found_by_line_id_and_text():
    said = row({"id": 17, "messages": [{"role": "user", "content": 'Say "hi"\nnow'}]})
    assert Wanted(line=3).wants_row(3, said)
    assert not Wanted(line=3).wants_row(4, said)
    assert Wanted(id="17").wants_row(1, said)
    assert not Wanted(id="1").wants_row(1, said)
    assert Wanted(grep='"hi"\nnow').wants_row(1, said)
    assert not Wanted(grep="bye").wants_row(1, said)


@pytest.mark.parametrize("field", ["id", "uuid", "conversation_id"])
def test_an_id_may_have_several_names(field: str):
    assert Wanted(id="a1").wants_row(1, row({field: "a1"}))
    assert not Wanted(id="a1").wants_row(1, row([field, "a1"]))


@pytest.mark.parametrize("value", [{"key": 1}, ["key"], {"a": [{"b": "key"}]}, "key"])
def test_text_is_found_in_keys_and_at_any_depth(value: object):
    assert Wanted(grep="key").wants_row(1, row(value))


@pytest.mark.parametrize(("value", "text"), [(17, "17"), (True, "true"), (None, "null")])
def test_other_values_are_found_as_they_stand_in_json(value: object, text: str):
    assert Wanted(grep=text).wants_row(1, row([value]))


def test_text_that_only_two_values_together_have_is_not_found():
    assert not Wanted(grep="ab").wants_row(1, row(["b", "a"]))


def test_sequences_of_packs_are_found_by_line_and_text():
    sequence = {"line": 3, "chunks": [{"text": "Hi"}, {"text": "Hello"}]}
    assert Wanted().wants_sequence(sequence)
    assert Wanted(line=3, grep="Hello").wants_sequence(sequence)
    assert not Wanted(line=4).wants_sequence(sequence)
    assert not Wanted(grep="HiHello").wants_sequence(sequence)


def test_a_broken_row_is_found_by_what_is_wrong_with_it():
    assert Wanted(grep="bracket").wants_row(1, row(None, "a bracket is missing"))
    assert not Wanted(id="17").wants_row(1, row(None, "a bracket is missing"))


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"only": "bad_jsn"}, '"bad_json"'), ({"only": "odd"}, "kept"), ({"limit": 0}, "--limit"), ({"line": -1}, "-1")],
)
def test_a_wish_that_cannot_be_met_is_refused(settings: dict, named: str):
    with pytest.raises(UserError) as refused:
        Wanted(**settings)
    assert named in f"{refused.value} {refused.value.hint}"
