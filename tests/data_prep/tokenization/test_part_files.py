"""One place counts and writes what becomes of the rows of a part."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.drop_reasons import DropReason
from nemotron.data_prep.notes import MOST_NAMES, OTHERS, Note, NoteCount, NoteKind
from nemotron.data_prep.part_index import EMPTY_INDEX, SequencePlace
from nemotron.data_prep.sources import Row
from nemotron.data_prep.tokenization.outcomes import EXCERPT, Dropped, Noticed, excerpt, shorten
from nemotron.data_prep.tokenization.part_files import (
    RECEIPT,
    TOKENS,
    PartWriter,
    file_of,
    is_intact,
    map_tokens,
    marked,
    read_dropped,
    read_receipt,
    read_tokens,
    unmark,
    write_part,
)
from nemotron.errors import UserError


def test_blank_lines_are_lines_but_no_rows(tmp_path: Path) -> None:
    def fill(writer: PartWriter) -> None:
        assert [row.line for row in writer.rows_of([[Row(0, {}), Row(1, None, is_blank=True), Row(2, {})]])] == [0, 2]

    receipt = write_part(tmp_path / "part", fill)
    assert (receipt.lines, receipt.rows, receipt.starts) == (3, 2, [0])


def test_the_lines_of_several_files_are_numbered_through(tmp_path: Path) -> None:
    files = [[Row(0, {}), Row(1, {})], [], [Row(0, None, is_blank=True), Row(1, {})]]

    def fill(writer: PartWriter) -> None:
        assert [row.line for row in writer.rows_of(files)] == [0, 1, 3]

    receipt = write_part(tmp_path / "part", fill)
    assert (receipt.lines, receipt.rows, receipt.starts) == (4, 3, [0, 2, 2])
    assert read_receipt(tmp_path / "part") == receipt


def test_a_step_keeps_drops_and_notices(tmp_path: Path) -> None:
    token = Note(NoteKind.SPECIAL_TOKENS, "<|im_end|>")
    step = ["one", Noticed(4, token), "two", Dropped(5, DropReason.BAD_ROLE, "the role is 7"), Noticed(6, token)]

    def fill(writer: PartWriter) -> None:
        assert list(writer.kept(step)) == ["one", "two"]

    receipt = write_part(tmp_path / "part", fill)
    assert receipt.dropped == {"bad_role": 1}
    assert read_dropped(tmp_path / "part", receipt) == [{"line": 5, "reason": "bad_role", "detail": "the role is 7"}]
    assert receipt.notes == [NoteCount("special_tokens", "<|im_end|>", rows=2, lines=[4, 6])]
    assert read_receipt(tmp_path / "part") == receipt


def test_the_first_dropped_rows_of_a_reason_are_kept_to_look_at(tmp_path: Path) -> None:
    """The row that was read last is at hand; of a row that was held back, what it says."""

    rows = [Row(0, None, "no JSON", text=b'{"a\x1b\n'), Row(1, {"a": 1}), Row(2, {"a": 2})]

    def steps(writer: PartWriter) -> Iterator[Dropped]:
        for row in writer.rows_of([rows]):
            yield Dropped(row.line, DropReason.BAD_JSON if row.error else DropReason.BAD_ROLE, "why")
        yield from (Dropped(line, DropReason.MEDIA, "why", messages=[f"said {line}"]) for line in range(9))

    examples = write_part(tmp_path / "part", lambda writer: list(writer.kept(steps(writer))) and None).examples
    assert [(one.reason, one.line, one.text) for one in examples] == [
        ("bad_json", 0, '{"a\\u001b'), ("bad_role", 1, '{"a": 1}'), ("bad_role", 2, '{"a": 2}'),
        ("media", 0, '["said 0"]'), ("media", 1, '["said 1"]'), ("media", 2, '{"a": 2}'),
    ]  # fmt: skip


def test_a_long_row_is_cut(tmp_path: Path) -> None:
    row = Row(0, None, "no JSON", text=b"x" * 10_000_000)
    assert excerpt(row) == "x" * EXCERPT + "\u2026"


def test_an_excerpt_of_any_bytes_can_be_printed() -> None:
    assert excerpt(Row(0, None, text=b"a\xffb\x1b[1m\r\n")) == "a\ufffdb\\u001b[1m"
    assert excerpt(Row(0, None)) == ""
    assert excerpt(Row(0, {"a": "\u00fc"})) == '{"a": "\u00fc"}'


def test_a_text_of_the_limit_is_whole() -> None:
    assert [shorten("abcd", most) for most in (3, 4, 5)] == ["abc\u2026", "abcd", "abcd"]


def test_a_part_that_is_made_again_forgets_what_it_dropped(tmp_path: Path) -> None:
    def fill(writer: PartWriter) -> None:
        list(writer.kept([Dropped(5, DropReason.BAD_ROLE, "the role is 7")]))

    write_part(tmp_path / "part", fill)
    receipt = write_part(tmp_path / "part", lambda _: None)
    assert read_dropped(tmp_path / "part", receipt) == []


def test_a_part_is_whole_only_with_every_file_as_it_was_written(tmp_path: Path) -> None:
    part = tmp_path / "part"
    write_part(part, lambda writer: writer.append(np.array([7, 8, 9], np.int32), np.array([0, 1, 1]), EMPTY_INDEX))
    file = file_of(part, TOKENS)
    whole = file.read_bytes()
    receipt = read_receipt(part)
    assert receipt is not None
    assert receipt.bytes == sum(path.stat().st_size for path in tmp_path.iterdir() if path.suffix != RECEIPT)
    assert is_intact(None, part)

    for of_another_size in (whole[:-1], whole + b"x"):
        file.write_bytes(of_another_size)
        assert read_receipt(part) is None
    file.write_bytes(whole[:-1] + b"x")
    assert read_receipt(part) is not None  # which looks at sizes alone
    assert not is_intact(None, part)
    assert not is_intact(None, part.with_name("none"))


def test_a_part_with_a_damaged_receipt_is_made_again(tmp_path: Path) -> None:
    write_part(tmp_path / "part", lambda writer: None)
    file_of(tmp_path / "part", RECEIPT).write_text('{"lines": ')
    assert read_receipt(tmp_path / "part") is None


def test_nobody_waits_for_the_disk_after_each_of_thousands_of_parts(tmp_path: Path, monkeypatch) -> None:
    synced: list[object] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_part(tmp_path / "part", lambda writer: None)
    assert not synced


def test_what_sequences_share_stands_before_them() -> None:
    """Two conversations: one alone, and one of two sequences that begin with 3 and with 5 tokens of its history."""
    index = EMPTY_INDEX._replace(
        sequence_counts=np.array([1, 2]), history_lengths=np.array([0, 5]), lengths=np.array([10, 7, 8]),
        shared_lengths=np.array([0, 3, 5]),
    )  # fmt: skip
    history, own = index.starts()
    assert own.tolist() == [0, 15, 19]
    assert history.tolist() == [0, 10, 10]
    assert [array.tolist() for array in EMPTY_INDEX.starts()] == [[], []]


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


def test_stretches_are_read_to_where_they_are_wanted_and_nothing_else_is_touched(tmp_path: Path) -> None:
    file_of(tmp_path / "part", TOKENS).write_bytes(np.arange(10, 20, dtype="<i4").tobytes())
    tokens = np.full(8, -1, np.int32)
    read_tokens(tmp_path / "part", [(7, 3, 0), (2, 2, 5), (0, 0, 4)], tokens)
    assert tokens.tolist() == [17, 18, 19, -1, -1, 12, 13, -1]


@given(tokens=st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 1))))
def test_a_token_has_its_mask_in_the_sign_bit(tokens: list[tuple[int, int]]) -> None:
    ids, mask = np.array(tokens, np.int64).reshape(-1, 2).T
    words = marked(ids.astype(np.int32), mask.astype(np.uint8))
    assert (words < 0).tolist() == mask.astype(bool).tolist()
    read = unmark(words)
    assert [array.dtype for array in read] == [np.int32, np.uint8]
    assert [array.tolist() for array in read] == [ids.tolist(), mask.tolist()]


def test_a_part_that_was_cut_short_meanwhile_is_named(tmp_path: Path) -> None:
    file_of(tmp_path / "part", TOKENS).write_bytes(bytes(12))
    with pytest.raises(UserError, match=r"part\.tokens"):
        read_tokens(tmp_path / "part", [(1, 3, 0)], np.zeros(3, np.int32))


def test_a_part_without_tokens_has_none(tmp_path: Path) -> None:
    write_part(tmp_path / "part", lambda writer: None)
    assert map_tokens(tmp_path / "part").tolist() == []


@pytest.mark.parametrize(
    ("length", "pieces"), [(9, [(100, 4), (7, 5)]), (4, [(100, 4), (7, 0)]), (3, [(100, 3), (7, 0)])]
)
def test_a_sequence_is_its_history_and_what_is_its_own(length: int, pieces: list[tuple[int, int]]) -> None:
    """A sequence that is cut may end in its history."""
    assert SequencePlace(history_start=100, shared=4, start=7).stretches(length) == pieces


def test_reasons_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    """So the receipt of a part does not depend on which row is broken first."""

    def fill(writer: PartWriter) -> None:
        list(writer.kept([Dropped(0, DropReason.NO_MESSAGES, "a"), Dropped(1, DropReason.BAD_ROLE, "b")]))

    assert list(write_part(tmp_path / "part", fill).dropped) == ["bad_role", "no_messages"]
