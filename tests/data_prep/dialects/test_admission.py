"""Which rows are meant: by the stage they name, and with strict_fields by having no field that is not used."""

import pytest

from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.drop_reasons import RowError
from nemotron.data_prep.sources import Row

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def row(**fields: object) -> Row:
    return Row(0, {"messages": MESSAGES, **fields})


def test_unused_fields_are_noted_and_strict_fields_refuses_them() -> None:
    marked = {"messages": [MESSAGES[0], MESSAGES[1] | {"mood": "glad"}], "quality": 5, "uuid": "u", "empty": None}
    notes = Admission().conversation(Row(0, marked)).notes
    assert [(note.kind.value, note.name) for note in notes] == [
        ("unused_message_field", "mood"), ("unused_row_field", "quality"),
    ]  # fmt: skip
    with pytest.raises(RowError, match=r"unused_fields.*mood, quality"):
        Admission(strict_fields=True).conversation(Row(0, marked))


def test_what_a_check_finds_is_noted_with_what_the_row_has() -> None:
    kinds = [note.kind.value for note in Admission(checks=("languages",)).conversation(row(quality=5)).notes]
    assert kinds[0] == "unused_row_field"
    assert len(kinds) == 2


def test_metadata_is_refused_by_nobody() -> None:
    metadata = {"id": 1, "source": "web", "license": "cc0", "metadata": {"pages": 3}, "used_in": ["x"]}
    assert Admission(strict_fields=True).conversation(row(**metadata)).notes == ()


def test_the_field_of_the_stages_is_used_whatever_its_name() -> None:
    admission = Admission(used_in_field="stages", used_in_filter="sft", strict_fields=True)
    assert admission.conversation(row(stages="sft, rl")).notes == ()
    with pytest.raises(RowError, match=r'filtered.*"stages"'):
        admission.conversation(row(stages=["rl"]))


@pytest.mark.parametrize(
    ("stages", "used"),
    [("rl , sft", True), (["rl", "sft"], True), ("sfts", False), ("", False), ([], False), (None, False), (5, False)],
)
def test_stages_are_a_list_or_text_between_commas(stages: object, used: bool) -> None:
    assert Admission(used_in_filter="sft").is_used({"used_in": stages}) is used
    assert Admission(used_in_filter="sft").is_used({}) is False
    assert Admission().is_used({"used_in": stages}) is True


def test_what_was_normalised_is_no_reason_to_refuse() -> None:
    thinking = {"messages": [MESSAGES[0], {"role": "assistant", "content": "<think>\n</think>Hello"}]}
    assert Admission(strict_fields=True).conversation(Row(0, thinking)).messages == MESSAGES


def test_a_row_that_was_not_read_says_why() -> None:
    with pytest.raises(RowError, match=r"bad_json.*line ends early"):
        Admission().conversation(Row(0, None, "the line ends early"))


def test_the_stages_are_an_unused_field_unless_they_are_asked_for() -> None:
    admission = Admission(used_in_field="stages")
    assert [note.name for note in admission.conversation(row(stages="sft", quality=5)).notes] == ["stages", "quality"]
    asked = Admission(used_in_field="stages", used_in_filter="sft")
    assert [note.name for note in asked.conversation(row(stages="sft", quality=5)).notes] == ["quality"]
