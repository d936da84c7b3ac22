"""Docstrings have one form: Google's, with a first line that says what is done."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "nemotron"
SAYS_NOTHING = re.compile(r"\w+: as (said|above)\.", re.I)
SHOWS_A_COMMAND = re.compile(r"python |torchrun |://")
PROSE = re.compile(r"^(Returns|Raises) (?!:)", re.M)


@pytest.fixture(scope="module")
def docstrings() -> list[tuple[str, str]]:
    """Place and text of each docstring of the package, those of modules included."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text is not None:
                    found.append((f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 1)}", text))
    return found


def test_a_first_line_has_at_most_80_characters(docstrings: list[tuple[str, str]]) -> None:
    firsts = [(place, text.splitlines()[0]) for place, text in docstrings]
    assert [(place, first) for place, first in firsts if len(first) > 80] == []


def test_a_first_line_is_a_sentence(docstrings: list[tuple[str, str]]) -> None:
    firsts = [(place, text.splitlines()[0]) for place, text in docstrings]
    open_ended = [(place, first) for place, first in firsts if first[-1] not in ".:?"]
    assert [(place, first) for place, first in open_ended if not SHOWS_A_COMMAND.search(first)] == []


def test_sections_are_googles_and_say_something(docstrings: list[tuple[str, str]]) -> None:
    assert [(place, text) for place, text in docstrings if SAYS_NOTHING.search(text) or PROSE.search(text)] == []
