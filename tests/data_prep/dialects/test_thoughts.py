"""Thoughts of an answer: under several names, with tags, and in the text itself."""

from typing import Any

import pytest

from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.thoughts import _only_ends_a_thought, read_thoughts
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import Note, NoteKind


def read(raw: dict[str, Any], in_parts: str = "") -> tuple[str, tuple[Note, ...]]:
    found = Findings()
    return read_thoughts(raw, in_parts, "message 1", found), found.notes


def test_a_thought_said_twice_is_read_once_and_noted() -> None:
    both = Note(NoteKind.REPEATED_THOUGHT, "reasoning+content")
    assert read({"reasoning": "Hm."}, "Hm. ") == ("Hm.", (both,))
    assert read({"reasoning": "Hm."}) == ("Hm.", ())
    assert read({}, "Hm.") == ("Hm.", ())
    assert read({"reasoning": " "}, "Hm.") == ("Hm.", ())
    assert read({"reasoning": " "}) == (" ", ())  # blank, but not absent
    with pytest.raises(RowError, match=r'reasoning \("Hm\."\) and content \("Oh\."\)') as refused:
        read({"reasoning": "Hm."}, "Oh.")
    assert refused.value.reason == DropReason.AMBIGUOUS


def test_tags_around_a_thought_are_removed() -> None:
    tagged = (Note(NoteKind.TAGGED_REASONING, ""),)
    for thought in ("<think>\nHm.\n</think>", "<think>Hm.", "Hm.</think>\n"):
        assert read({"reasoning": thought}) == ("Hm.", tagged)
        assert read({}, thought) == ("Hm.", tagged)
    assert read({"reasoning": "The <think> tag."}) == ("The <think> tag.", ())
    with pytest.raises(RowError, match="goes on after"):
        read({"reasoning": "<think>Hm.</think>Oh.</think>"})


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Hm.</think>Hello", True),
        ("Hm.</think>\nHello", True),
        ("Hm.</think>\r\nHello", True),
        ("Hm. </think> Hello", True),
        ("Let me see </think> Hello", False),
        ("Let me see </think>\nHello", True),
        ("Let me see </think>\r\nHello", True),
        ("Let me see\n</think> Hello", True),
        ("Let me see\n </think> Hello", True),
        ("Let me see'</think>Hello", False),
        ("Let me see'</think>", True),
        ("a\n'b'</think>", True),
        ("'</think>'", False),
        ("Hm.</think>, as it is", False),
        ("<think>Hm.</think>Hello", False),
        ("Hm.</think>Hello</think>", False),
        ("```\nHm.</think>\nHello", False),
        ("```\na\n```\nHm.</think>\nHello", True),
        ("```a``` ```b``` ```c\n</think>\nHello", False),
        ("a `b</think>\nHello", False),
        ("a `b` c</think>\nHello", True),
        ("a `b` `c` `d</think>\nHello", False),
        ("a `\nb</think>\nHello", True),
    ],
)
def test_a_closing_tag_alone_ends_a_thought_unless_it_is_quoted_or_in_code(text: str, ends: bool) -> None:
    assert _only_ends_a_thought(text) is ends
