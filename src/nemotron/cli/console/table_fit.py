"""Choose the widths of a table's columns on a narrow terminal."""

from collections.abc import Sequence

from nemotron.cli.console.screen import cells
from nemotron.cli.console.wrap import longest_word

GAP = 2
"""Columns between columns."""
BELOW = 0
"""The width of a column whose cells are printed below their rows."""
_COST_BELOW, _COST_LINE = 1.5, 1.0
"""The cost to a reader of a cell below its row, and of each further line of a wrapped cell."""
_NAMES_SHARE = 0.45
"""Share of the terminal's width that the first column may take before it is narrowed."""
_LATER = 0.1
"""How much less each later column matters."""
_SHARES = (0.75, 0.5, 0.35)
"""Shares of a column's natural width to try, in addition to the widths of its words."""


def fit_columns(columns: Sequence[Sequence[str]], fixed: Sequence[int], width: int) -> list[int] | None:
    """Choose widths so that few cells wrap, and even fewer are below their rows.

    Columns are narrowed one at a time: each time the one that costs least for the space it saves.

    Args:
        columns: The cells of each column, its header first.
        fixed: Columns of numbers, which are never narrowed. The first column, which names its row, is narrowed only if
            it is long.
        width: Columns of the terminal, including all gaps.

    Returns:
        A width per column, possibly BELOW; None when the numbers alone are too wide.
    """
    options = [
        [_natural(column)]
        if index in fixed or (index == 0 and _natural(column) <= width * _NAMES_SHARE)
        else _widths(column, is_first=index == 0)
        for index, column in enumerate(columns)
    ]
    widths = [option[0] for option in options]
    while (excess := _total(widths) - width) > 0:
        found = [
            (_loss(column, widths[index], narrower, index) / min(saved, excess), index, narrower)
            for index, column in enumerate(columns)
            for narrower in options[index]
            if (saved := _space(widths[index]) - _space(narrower)) > 0
        ]
        if not found:
            return None
        _, index, narrower = min(found)
        widths[index] = narrower
    return _widen(columns, widths, width)


def is_below(cell: str, width: int) -> bool:
    """Tell whether a cell is printed below its row, as its longest word is too wide."""
    return longest_word(cell) > width


def _widths(column: Sequence[str], *, is_first: bool) -> list[int]:
    """Return the widths to try for a column of text, widest first."""
    natural = _natural(column)
    words = {longest_word(cell) for cell in column}
    least = max(words) if is_first else longest_word(column[0])
    tried = {natural, *words, *(round(natural * share) for share in _SHARES)}
    return [*sorted((width for width in tried if width >= least), reverse=True), *([] if is_first else [BELOW])]


def _loss(column: Sequence[str], width: int, narrower: int, index: int) -> float:
    """Return the cost to a reader of narrowing a column; later columns matter less."""
    return (_cost(column, narrower) - _cost(column, width)) / (1 + _LATER * index)


def _cost(column: Sequence[str], width: int) -> float:
    return sum(_cost_of_cell(cell, width) for cell in column[1:] if cell)


def _cost_of_cell(cell: str, width: int) -> float:
    if is_below(cell, width):
        return _COST_BELOW
    return _COST_LINE * (-(-cells(cell) // width) - 1)


def _widen(columns: Sequence[Sequence[str]], widths: list[int], width: int) -> list[int]:
    """Give the remaining space to the narrowest columns that can use it."""
    for index in sorted(range(len(widths)), key=lambda index: widths[index]):
        if widths[index] != BELOW:
            wider = min(_natural(columns[index]), widths[index] + width - _total(widths))
            inside = [cells(cell) for cell in columns[index] if not is_below(cell, wider)]
            widths[index] = min(wider, max(inside))
    return widths


def _natural(column: Sequence[str]) -> int:
    return max(map(cells, column))


def _space(width: int) -> int:
    return width + GAP if width != BELOW else 0


def _total(widths: Sequence[int]) -> int:
    return sum(map(_space, widths)) - GAP
