"""Print tables: fitted and ruled on a terminal, plain columns anywhere else."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from nemotron.cli.console import screen
from nemotron.cli.console.table_fit import BELOW, GAP, fit_columns, is_below
from nemotron.cli.console.wrap import wrap
from nemotron.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

_INDENT = "  "
_INDENT_BELOW = _INDENT + "    "


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] | None = None, right: Sequence[int] = ()) -> None:
    """Print aligned columns, two spaces in.

    On a terminal, text wraps between words in its column. A cell with a word that is wider than its column, such as a
    path, is printed below its row, after the column's title. Elsewhere nothing is wrapped.

    Args:
        rows: Cells of each line.
        header: Titles of the columns.
        right: Columns of numbers, aligned to the right; they never wrap.
    """
    body = [[printable(str(cell), one_line=True) for cell in row] for row in rows]
    if not body and not header:
        return
    stream = screen.results()
    width = screen.width_of(stream)
    if width is None:
        for line in _plain(body, header, right):
            stream.write(f"{line}\n")
        stream.flush()
    else:
        _draw(stream, body, header, right, width)


def _plain(body: list[list[str]], header: Sequence[str] | None, right: Sequence[int]) -> Iterator[str]:
    lines = [list(header), *body] if header else body
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield _INDENT + "  ".join(cells).rstrip()


def _draw(
    stream: TextIO, body: list[list[str]], header: Sequence[str] | None, right: Sequence[int], width: int
) -> None:
    from rich.console import Console
    from rich.text import Text

    titles = list(header) if header else [""] * len(body[0])
    columns = [[titles[index], *(row[index] for row in body)] for index in range(len(titles))]
    untitled = [index for index, title in enumerate(titles) if header and not title]  # below, they would have no title
    widths = fit_columns(columns, [*right, *untitled], width - len(_INDENT))
    styled = screen.is_styled(stream)
    console = Console(file=stream, width=width, color_system="standard" if styled else None, force_terminal=styled)

    def show(text: str, style: str = "") -> None:
        console.print(Text(text, style), no_wrap=True, overflow="ignore", crop=False)

    if widths is None:
        for row in body:
            for line in _as_record(row, titles, width):
                show(line)
        return
    if header:
        kept = [title if width != BELOW else "" for title, width in zip(titles, widths, strict=True)]
        console.print(_grid([kept], widths, right, "bold"))
        show(_INDENT + "─" * (sum(w + GAP for w in widths if w != BELOW) - GAP), "dim")
    waiting: list[list[str]] = []
    for row in body:
        below = [index for index, cell in enumerate(row) if cell and is_below(cell, widths[index])]
        waiting.append(["" if index in below else cell for index, cell in enumerate(row)])
        if below:
            console.print(_grid(waiting, widths, right))
            waiting = []
        for index in below:
            named = f"{titles[index]}: {row[index]}" if titles[index] else row[index]
            for line in wrap(_INDENT_BELOW + named, width):
                show(line)
    if waiting:
        console.print(_grid(waiting, widths, right))


def _grid(rows: list[list[str]], widths: list[int], right: Sequence[int], style: str = "") -> "Table":
    """Lay out rows in columns of these widths."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    grid.add_column(width=len(_INDENT) - GAP)
    shown = [index for index, width in enumerate(widths) if width != BELOW]
    for index in shown:
        grid.add_column(width=widths[index], justify="right" if index in right else "left", style=style)
    for row in rows:
        grid.add_row("", *(Text(row[index]) for index in shown))
    return grid


def _as_record(row: list[str], titles: list[str], width: int) -> Iterator[str]:
    """Print a row that does not fit in columns: its name, then `title cell` entries."""
    yield _INDENT + row[0]
    rest = [f"{title} {cell}".strip() for title, cell in zip(titles[1:], row[1:], strict=True) if cell]
    unbroken = " · ".join(entry.replace(" ", "\u00a0") for entry in rest)
    for line in wrap(_INDENT_BELOW + unbroken, width):
        yield line.replace("\u00a0", " ")
