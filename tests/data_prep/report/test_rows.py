"""Dropped rows, duplicates, notes and examples, as the report shows them."""

import re
from typing import Any

import pytest
from tests.data_prep.report.counted_run import cells, dataset, metadata, words

from nemotron.data_prep.notes import NoteKind
from nemotron.data_prep.output.examples import Examples
from nemotron.data_prep.output.metadata import NoteStats
from nemotron.data_prep.report import rows

NO_EXAMPLES = Examples([], [])
CHUNK = {"text": "Hello", "supervised": True, "tokens": 2, "supervised_tokens": 2}


def sequence(kind: str, line: int, **more: Any) -> dict[str, Any]:
    counts = {"tokens": 1200, "uncut": 1200, "supervised_tokens": 300}
    return {"kind": kind, "dataset": "chat", "file": "a.jsonl", "line": line, "chunks": [CHUNK], **counts, **more}


def folds(html: str) -> list[str]:
    return [words(summary) for summary in re.findall("<summary>(.*?)</summary>", html)]


def test_a_reason_has_its_rows_their_share_and_its_meaning() -> None:
    html = rows.render_dropped(
        metadata(dataset("a", dropped={"media": 1, "bad_role": 9}), dataset("b", dropped={"bad_json": 9})), NO_EXAMPLES
    )
    # The most frequent first, and in the order of the alphabet where they are equal; shares are of 200 rows.
    assert folds(html) == [
        "bad_json 9 rows (4.5%): the line is not valid JSON, or the row not valid CSV",
        "bad_role 9 rows (4.5%): a message's role is missing or unknown",
        "media 1 row (0.5%): the row has images, audio or video",
    ]
    assert [cells(table)[1:] for table in re.findall("<table>.*?</table>", html)] == [
        [["b", "9"]],
        [["a", "9"]],
        [["a", "1"]],
    ]
    assert "dropped.jsonl.zst" in html
    assert '<section id="dropped"' in html


def test_where_nothing_is_dropped_no_file_is_named() -> None:
    html = rows.render_dropped(metadata(dataset(dropped={})), NO_EXAMPLES)
    assert html.endswith("<p>None.</p></section>")
    assert "zst" not in html


def test_a_reason_has_examples_of_rows_and_of_tokenized_conversations() -> None:
    bad = {"reason": "bad_role", "dataset": "chat", "file": "a.jsonl", "line": 3, "detail": "usr <", "text": "{row"}
    other = {**bad, "reason": "bad_json", "line": 4, "text": ""}
    long = sequence("dropped", 5, reason="overlong", uncut=9000)
    html = rows.render_dropped(
        metadata(dataset(dropped={"bad_role": 3, "bad_json": 2, "overlong": 1})),
        Examples(
            [long, sequence("dropped", 6, reason="media"), sequence("longest", 7, reason="overlong")], [bad, other]
        ),
    )
    role, json, overlong = (fold.split("<table>")[0] for fold in html.split("<details>")[1:])
    assert '<p class="place">chat a.jsonl:3</p><p class="note">usr &lt;</p><pre>\n{row</pre>' in role
    assert role.count("place") == 1
    assert '<p class="place">chat a.jsonl:4</p>' in json
    assert "<pre>" not in json
    assert '<p class="place">chat a.jsonl:5, 9,000 tokens</p><pre class="trains">\nHello</pre>' in overlong
    assert overlong.count("place") == 1


@pytest.mark.parametrize("render", [rows.render_dropped, rows.render_duplicates])
def test_eight_datasets_are_listed_and_the_others_counted(render: Any) -> None:
    several = [dataset(f"d{number}", duplicates=1, dropped={"bad_role": 1}) for number in range(10)]
    assert "and 2 more datasets: metadata.json has all." in words(render(metadata(*several), NO_EXAMPLES))


def test_duplicates_are_counted_with_those_that_are_dropped_for_it() -> None:
    found = metadata(
        dataset("few", duplicates=2), dataset("none"), dataset("many", duplicates=1500, dropped={"duplicate": 1400})
    )
    html = rows.render_duplicates(found, Examples([sequence("repeated", 1, count=1500), sequence("longest", 2)], []))
    assert cells(html)[1:] == [["many", "1,500", "1,400"], ["few", "2", "0"]]
    assert folds(html) == ["1,500 times, first at chat a.jsonl:1"]
    assert "<h3>The most frequent</h3>" in html


def test_without_duplicates_there_is_no_list_of_them() -> None:
    assert words(rows.render_duplicates(metadata(), NO_EXAMPLES)) == "DuplicatesNone."


def test_the_longest_and_the_shortest_are_shown_and_the_first_of_each_is_open() -> None:
    found = [
        sequence("longest", 1, uncut=5000), sequence("shortest", 3), sequence("longest", 2), sequence("repeated", 4),
    ]  # fmt: skip
    html = rows.render_sequences(metadata(), Examples(found, []))
    assert re.findall("<h3>(.*?)</h3>|<details( open)?>", html) == [
        ("The longest", ""), ("", " open"), ("", ""), ("The shortest", ""), ("", " open"),
    ]  # fmt: skip
    assert folds(html) == [
        "1,200 tokens (cut: it has 5,000), 300 supervised: chat a.jsonl:1",
        "1,200 tokens, 300 supervised: chat a.jsonl:2",
        "1,200 tokens, 300 supervised: chat a.jsonl:3",
    ]
    assert html.count('<div class="sequence"><pre class="trains">\nHello</pre></div>') == 3


def test_without_examples_there_is_no_section_of_them() -> None:
    assert rows.render_sequences(metadata(), NO_EXAMPLES) == ""


def note(kind: NoteKind, name: str, count: int, file: str = "a.jsonl", line: int = 7) -> NoteStats:
    return NoteStats(str(kind), name, count, [{"file": file, "line": line}])


def test_a_note_counts_the_rows_of_all_datasets_and_names_two_of_them() -> None:
    empty, mood = NoteKind.EMPTY_ANSWER, NoteKind.UNUSED_ROW_FIELD
    counted = [("a", 1), ("b", 1000), ("c", 5), ("d", 500)]
    several = [
        dataset(name, notes=[note(empty, "", count, f"{name}.jsonl"), note(mood, "mood", 1)]) for name, count in counted
    ]
    twice = dataset("e", notes=[NoteStats(str(NoteKind.LANGUAGE), "German", 2000, [])])
    html = rows.render_noticed(metadata(*several, twice))
    assert cells(html)[1:] == [
        ["language German", "2,000", NoteKind.LANGUAGE.description, "e", ""],
        ["empty_answer", "1,506", empty.description, "b, d and 2 more", "a.jsonl:7"],
    ]
    assert re.findall("<th([ >])", html) == [">", ">", " ", " ", " "]


def test_two_datasets_are_both_named() -> None:
    several = [dataset(name, notes=[note(NoteKind.JOINED_TURN, "", 1)]) for name in ("a", "b")]
    assert cells(rows.render_noticed(metadata(*several)))[1][3] == "a, b"


def test_fields_that_are_not_used_stand_in_a_section_of_their_own() -> None:
    ignored = [NoteKind.UNUSED_ROW_FIELD, NoteKind.UNUSED_MESSAGE_FIELD, NoteKind.TEMPLATE_KWARGS]
    found = metadata(dataset(notes=[note(kind, "x", 1) for kind in NoteKind]))
    apart = {row[0] for row in cells(rows.render_ignored(found))[1:]}
    assert apart == {f"{kind} x" for kind in ignored}
    assert {row[0] for row in cells(rows.render_noticed(found))[1:]} == {f"{kind} x" for kind in NoteKind} - apart


def test_where_nothing_is_noticed_or_ignored_that_is_said() -> None:
    assert words(rows.render_noticed(metadata())) == "Noticed in rowsNothing."
    assert words(rows.render_ignored(metadata())) == "Ignored fieldsNone: everything in the rows is used."


def test_long_lists_of_notes_say_how_many_lines_they_leave_out() -> None:
    found = metadata(dataset(notes=[note(NoteKind.UNUSED_ROW_FIELD, f"x{number}", 1) for number in range(32)]))
    assert "and 2 more lines" in words(rows.render_ignored(found))


def test_a_long_path_is_shortened_to_120_characters_in_notes_and_160_with_examples() -> None:
    def shown(length: int) -> list[bool]:
        path = "a" * length
        noted = dataset(notes=[note(NoteKind.JOINED_TURN, "", 1, path)], duplicates=1)
        repeated = Examples([{**sequence("repeated", 1), "file": path}], [])
        pages = rows.render_noticed(metadata(noted)), rows.render_duplicates(metadata(noted), repeated)
        return [path in page for page in pages]

    assert [shown(length) for length in (120, 121, 160, 161)] == [
        [True, True], [False, True], [False, True], [False, False],
    ]  # fmt: skip
