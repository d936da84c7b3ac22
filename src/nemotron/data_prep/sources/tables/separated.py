"""Read text with a header whose cells are separated by commas or tabs.

This uses Python's reader, because Arrow's refuses rows larger than its block size and does not say where a row is
wrong.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import orjson

from nemotron.data_prep.sources.input_file import Part, Row
from nemotron.data_prep.sources.opening import open_text
from nemotron.data_prep.sources.tables.values import refuse_repeated_names
from nemotron.errors import UserError

LONGEST_CELL = 2**28
"""The most characters of a cell. More means an open quote that swallows the rest of the file."""
TEXT_COLUMNS = frozenset((
    *("prompt", "instruction", "query", "question", "input", "context"),
    *("completion", "output", "response", "answer", "chosen", "rejected", "rejected_response"),
    *("system", "system_prompt", "system_message"),
    *("reasoning_content", "reasoning", "thinking", "reasoning_text", "thinking_content", "thought"),
))  # fmt: skip
"""Columns of text that may look like JSON without being JSON: an answer may be a list of numbers."""
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_OTHER_DELIMITERS = (";", "\t", "|", ",")
_WORDS: dict[str, Any] = {"true": True, "false": False, "0.0": 0, "1.0": 1}
"""Loss flags in the spelling of spreadsheets and pandas."""
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_MANY_DIGITS = re.compile(r"\d{19}")


def read_separated_rows(part: Part) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file.

    They are numbered as in a spreadsheet: the header counts, and is yielded as a blank line. Only rows that cannot be
    read are dropped.

    Raises:
        UserError: The header names no columns, or a quote is never closed.
        OSError: The file cannot be read.
    """
    csv.field_size_limit(LONGEST_CELL)
    path = part.file.path
    with open_text(part.file) as raw:
        text = io.TextIOWrapper(cast(BinaryIO, raw), "utf-8-sig", errors="surrogateescape", newline="")
        try:
            lines = csv.reader(_lines(text, path), delimiter=_DELIMITERS[part.file.format], strict=True)
            names: list[str] | None = None
            for number, cells in enumerate(_cells(lines, path)):
                if not cells:
                    yield Row(number, None, is_blank=True)
                elif isinstance(cells, str):
                    yield Row(number, None, cells)
                elif names is None:
                    names = _check_header(cells, path, _DELIMITERS[part.file.format])
                    yield Row(number, None, is_blank=True)
                else:
                    yield _row(number, names, cells)
        finally:
            text.detach()


def _lines(text: io.TextIOWrapper, path: str) -> Iterator[str]:
    number = 0
    while line := text.readline(LONGEST_CELL + 1):
        number += 1
        if len(line) > LONGEST_CELL:
            raise UserError(f"Line {number} of {path} has over {LONGEST_CELL:,} characters.", "Shorten or remove it.")
        yield line


def _cells(lines: Any, path: str) -> Iterator[list[str] | str]:
    """Yield the cells of each row, or for a broken row what is wrong with it."""
    while True:
        starts = lines.line_num + 1
        try:
            yield next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error) or "field limit" in str(error):
                raise UserError(
                    f"{path}:{starts} has a quote that is never closed, so everything after it would be one cell.",
                    'Close it; write a quote inside a cell twice: "".',
                ) from None
            yield f"{error}; write a quote inside a cell twice"


def _check_header(cells: Sequence[str], path: str, delimiter: str) -> list[str]:
    """Return the names of the columns.

    Raises:
        UserError: A name occurs twice, or the header has other delimiters.
    """
    names = [name.strip() for name in cells]
    refuse_repeated_names(names, f"The header of {path}")
    other = next((each for each in _OTHER_DELIMITERS if each != delimiter and each in names[0]), None)
    if len(names) == 1 and other is not None:
        kind = {"\t": "tabs", ",": "commas"}
        raise UserError(
            f"The header of {path} has no {kind[delimiter]}, but {kind.get(other, repr(other))}: {names[0][:80]}",
            "Separate the cells by commas in .csv and by tabs in .tsv.",
        )
    return names


def _row(number: int, names: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(names):
        return Row(number, None, f"the row has {len(cells)} cells, and the header names {len(names)} columns")
    value: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            if not cell.isascii():
                cell.encode()
        except UnicodeEncodeError:
            hint = "if all of the file is Windows-1252, convert it: iconv -f WINDOWS-1252 -t UTF-8"
            return Row(number, None, f'the cell under "{name}" is not UTF-8; {hint}')
        # A column without a name is the index of pandas. An empty cell is a missing value.
        if name and (read := _read(name, cell)) is not None:
            value[name] = read
    return Row(number, value)


def _read(name: str, cell: str) -> Any:
    """Return the value of a cell: text, a JSON value, or None if it is empty."""
    if name not in TEXT_COLUMNS:
        if not cell:
            return None
        if (word := _WORDS.get(cell.strip().lower())) is not None:
            return word
        if _INTEGER.fullmatch(cell):
            return int(cell)
        return _decode(cell)
    decoded = _decode(cell) if '"role"' in cell or '"from"' in cell else cell
    are_messages = isinstance(decoded, list) and all(isinstance(each, dict) for each in decoded)
    return decoded if are_messages else cell


def _decode(cell: str) -> Any:
    """Decode a cell with a JSON list or object; other text is unchanged."""
    if not cell.lstrip().startswith(("[", "{")):
        return cell
    try:
        value = orjson.loads(cell)
        # orjson rounds integers beyond 64 bits, but it is faster, and refuses invalid JSON.
        return json.loads(cell) if _MANY_DIGITS.search(cell) else value
    except (ValueError, RecursionError):
        return cell
