"""One place counts and writes what becomes of the rows of a part."""

from pathlib import Path

from nemotron.data_prep.drop_reasons import DropReason
from nemotron.data_prep.notes import OTHERS, Note, NoteKind
from nemotron.data_prep.sources import Row
from nemotron.data_prep.tokenization.outcomes import Dropped, Noticed
from nemotron.data_prep.tokenization.part_files import (
    MOST_NAMES,
    NoteCount,
    PartWriter,
    read_dropped,
    read_receipt,
    write_part,
)


def test_blank_lines_are_lines_but_no_rows(tmp_path: Path) -> None:
    def fill(writer: PartWriter) -> None:
        assert [row.line for row in writer.rows_of([Row(0, {}), Row(1, None, is_blank=True), Row(2, {})])] == [0, 2]

    receipt = write_part(tmp_path / "part", fill)
    assert (receipt.lines, receipt.rows) == (3, 2)


def test_a_step_keeps_drops_and_notices(tmp_path: Path) -> None:
    token = Note(NoteKind.SPECIAL_TOKENS, "<|im_end|>")
    step = ["one", Noticed(4, token), "two", Dropped(5, DropReason.BAD_ROLE, "the role is 7"), Noticed(6, token)]

    def fill(writer: PartWriter) -> None:
        assert list(writer.kept(step)) == ["one", "two"]

    receipt = write_part(tmp_path / "part", fill)
    assert receipt.dropped == {"bad_role": 1}
    assert read_dropped(tmp_path / "part") == [{"line": 5, "reason": "bad_role", "detail": "the role is 7"}]
    assert receipt.notes == [NoteCount("special_tokens", "<|im_end|>", rows=2, lines=[4, 6])]
    assert read_receipt(tmp_path / "part") == receipt


def test_the_first_lines_of_a_note_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    def fill(writer: PartWriter) -> None:
        list(writer.kept(Noticed(line, Note(NoteKind.EMPTY_ANSWER)) for line in range(10, 20)))

    assert write_part(tmp_path / "part", fill).notes == [NoteCount("empty_answer", "", rows=10, lines=[10, 11, 12])]


def test_names_from_the_data_cannot_fill_the_memory(tmp_path: Path) -> None:
    def fill(writer: PartWriter) -> None:
        notes = [Note(NoteKind.SPECIAL_TOKENS, f"token {number}") for number in range(3 * MOST_NAMES)]
        list(writer.kept(Noticed(line, note) for line, note in enumerate(notes)))

    counts = {count.name: count.rows for count in write_part(tmp_path / "part", fill).notes}
    assert len(counts) == MOST_NAMES + 1
    assert counts["token 0"] == 1
    assert counts[OTHERS] == 2 * MOST_NAMES
