"""Wrap text for a terminal: between words, never inside one that fits."""

import re

from nemotron.cli.console.screen import cells

_PIECE = re.compile(r"[^/,=]*[/,=]+|[^/,=]+")
"""A word that is wider than the terminal may be broken after these characters, such as a path after its slashes."""


def wrap(text: str, width: int, hang: str = "") -> list[str]:
    """Wrap each line between its words, keeping its indentation.

    Args:
        text: One or more lines.
        width: Columns of the terminal.
        hang: Begins further lines, after the indentation.
    """
    return [wrapped for line in text.split("\n") for wrapped in _wrap_line(line, width, hang)]


def fold(line: str, width: int) -> list[str]:
    """Break a line of text out of data, after a space if there is one nearby."""
    lines = []
    while cells(line) > width:
        end = _fitting(line, width)
        space = line.rfind(" ", 0, end) + 1
        end = space if space > end // 2 else end
        lines.append(line[:end])
        line = line[end:]
    return [*lines, line]


def longest_word(text: str) -> int:
    """Return the columns of the longest word of a text."""
    return max((cells(word) for word in text.split(" ")), default=0)


def _wrap_line(line: str, width: int, hang: str) -> list[str]:
    if cells(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip(" "))]
    words = line.lstrip(" ").split(" ")
    lines, current = [], indent
    room = width - cells(indent + hang)
    for text, space in (piece for word in words for piece in _pieces(word, room)):
        joined = f"{current}{space}{text}" if current.strip() else f"{current}{text}"
        if cells(joined) > width and current.strip():
            lines.append(current)
            joined = f"{indent}{hang}{text}"
        current = joined
    return [*lines, current]


def _pieces(word: str, room: int) -> list[tuple[str, str]]:
    """Return a word, or its pieces, each with the separator before it."""
    if cells(word) <= room:
        return [(word, " ")]
    first, *others = _PIECE.findall(word) or [word]
    return [(first, " "), *((piece, "") for piece in others)]


def _fitting(line: str, width: int) -> int:
    """Return how many characters fit, at least one."""
    if line.isascii():
        return width
    end, used = 0, 0
    for character in line:
        used += cells(character)
        if used > width:
            break
        end += 1
    return max(1, end)
