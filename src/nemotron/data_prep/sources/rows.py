"""Cut files into parts, and read the rows of a part."""

import io
import zlib
from collections.abc import Callable, Iterator

import orjson
import pyarrow as pa

from nemotron.data_prep.sources.input_file import COLUMNAR, SEPARATED, InputFile, Part, Row
from nemotron.data_prep.sources.json_array import array_elements, stream_values
from nemotron.data_prep.sources.opening import ensure_unchanged, open_text, read_range
from nemotron.data_prep.sources.tables.columnar import count_pieces, read_table_rows
from nemotron.data_prep.sources.tables.separated import read_separated_rows
from nemotron.errors import UserError

PART_BYTES = 16 * 2**20
"""The largest part of a JSONL file: large enough that terabytes do not become a million small files."""
LEAST_PART_BYTES = 4 * 2**20
PARTS_OF_A_FILE = 32
"""Files with fewer parts are cut into smaller ones, so that the workers finish together."""
LINE_REST_BYTES = 2**18
"""Bytes read at once beyond the end of a part, for the rest of its last line."""
LONGEST_LINE = 2**28
"""Bytes of a line that is still read: a longer one costs its row, not the memory of the machine."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def cut(file: InputFile) -> list[Part]:
    """Return the parts of a file, in order; at least one.

    Raises:
        UserError: The file cannot be read.
    """
    step = min(PART_BYTES, max(LEAST_PART_BYTES, file.size // PARTS_OF_A_FILE))
    if file.format in ("parquet", "arrow"):
        try:
            pieces = count_pieces(file)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(file, error) from None
        # Row groups are large; record batches may have a thousand rows each.
        each = 1 if file.format == "parquet" else max(1, pieces * step // max(file.size, 1))
        spans = [(start, min(start + each, pieces)) for start in range(0, pieces, each)] or [(0, 0)]
        ends = [0, *(file.size * end // max(pieces, 1) for _, end in spans[:-1]), file.size]
        return [Part(file, i, span, ends[i + 1] - ends[i]) for i, span in enumerate(spans)]
    if file.format == "jsonl" and file.compression is None:
        # Only the size decides, because the parts must not depend on the number of workers.
        starts = range(0, max(file.size, 1), step)
        spans = [(start, min(start + step, file.size)) for start in starts]
        return [Part(file, i, span, span[1] - span[0]) for i, span in enumerate(spans)]
    return [Part(file, 0, None, file.size)]


def read_rows(part: Part) -> Iterator[Row]:
    """Yield the lines of a part, in order.

    Raises:
        UserError: The file cannot be read or decompressed to its end, or has changed since it was planned. Unreadable
            rows must not be taken for missing rows.
    """
    try:
        if part.file.format in COLUMNAR:
            yield from read_table_rows(part)
        elif part.file.format in SEPARATED:
            yield from read_separated_rows(part)
        elif part.file.format == "json_array":
            yield from _value_rows(part, array_elements)
        elif part.file.format == "json_stream":
            yield from _value_rows(part, stream_values)
        else:
            for number, line in enumerate(_lines(part)):
                yield _parse(number, line)
        ensure_unchanged(part.file)
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _unreadable(part.file, error) from None


def _unreadable(file: InputFile, error: Exception) -> UserError:
    reason = str(error).strip().rstrip(".")
    return UserError(f"Cannot read {file.path}: {reason}.", "Fix or replace the file; finished work is kept.")


def _parse(number: int, line: bytes) -> Row:
    if not line or line.isspace():
        return Row(number, None, is_blank=True)
    if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
        return Row(number, None, f"the line is longer than {LONGEST_LINE:,} bytes")
    try:
        return Row(number, orjson.loads(line), text=line)
    except orjson.JSONDecodeError as error:
        return Row(number, None, f"{error.msg}, at character {error.pos + 1:,}", text=line)


def _lines(part: Part) -> Iterator[bytes]:
    """Yield the lines that start inside the part.

    Of a line beyond LONGEST_LINE only the beginning, with more than so many bytes.
    """
    if part.span is None:
        with open_text(part.file) as file:
            for number, line in enumerate(_limited_lines(file)):
                yield line if number else line.removeprefix(BYTE_ORDER_MARK)
        return
    start, end = part.span
    # Including the byte before: a newline there means that a line starts at `start`.
    block = read_range(part.file, max(0, start - 1), end)
    begin = block.find(b"\n") + 1 if start else len(BYTE_ORDER_MARK) * block.startswith(BYTE_ORDER_MARK)
    if start and not begin:
        return  # all of it is part of a line that belongs to an earlier part
    while (newline := block.find(b"\n", begin)) >= 0:
        yield block[begin:newline]  # not all at once: it is parsed while the processor's cache has it
        begin = newline + 1
    if begin < len(block):
        yield _whole_line(part.file, block[begin:], end)


def _limited_lines(file: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield lines, and of one that is too long its beginning.

    A few compressed megabytes may hold gigabytes of it.
    """
    while line := file.readline(LONGEST_LINE + 1):
        yield line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE + 1)


def _whole_line(file: InputFile, beginning: bytes, end: int) -> bytes:
    """Return a line of which the beginning has been read, up to the byte `end`.

    It is without its newline, and goes on to its end or to where it is too long.
    """
    pieces, length = [beginning], len(beginning)
    while length <= LONGEST_LINE and (more := read_range(file, end, end + LINE_REST_BYTES)):
        end += len(more)
        piece, newline, _ = more.partition(b"\n")
        pieces.append(piece)
        length += len(piece)
        if newline:
            break
    return b"".join(pieces)


def _value_rows(part: Part, read_values: Callable[[io.BufferedIOBase, str], Iterator[str]]) -> Iterator[Row]:
    """Rows of a file that is read as a whole: their numbers count values, not lines."""
    with open_text(part.file) as file:
        for number, element in enumerate(read_values(file, part.file.path)):
            # A lone surrogate is not text; like any other broken row, only this row is dropped.
            yield _parse(number, element.encode(errors="surrogatepass"))
