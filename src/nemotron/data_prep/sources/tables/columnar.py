"""Read Parquet and Arrow's files and streams: their parts, and rows of a part."""

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from nemotron.data_prep.sources.input_file import InputFile, Part, Row
from nemotron.data_prep.sources.opening import open_raw
from nemotron.data_prep.sources.tables.values import as_json, python_values, refuse_repeated_names

ROWS_AT_ONCE = 512
MARK, ZERO = b"\xff\xff\xff\xff", b"\0\0\0\0"
"""Begins each message of a stream; and the length 0, which ends the stream. Streams before 0.15 have no marks."""


def count_pieces(file: InputFile) -> int:
    """Count the row groups of Parquet, or the record batches of an Arrow file.

    Raises:
        OSError, pa.ArrowException: The file cannot be read.
    """
    with open_raw(file) as raw:
        return pq.read_metadata(raw).num_row_groups if file.format == "parquet" else _open_file(raw).num_record_batches


def read_table_rows(part: Part) -> Iterator[Row]:
    """Yield the rows of a part of a columnar file, numbered from 0.

    Raises:
        OSError, pa.ArrowException: The part cannot be read.
        UserError: Two columns have the same name.
    """
    number = 0
    for batch in _batches(part):
        if not number:
            refuse_repeated_names(batch.schema.names, f"The schema of {part.file.path}")
        columns = [python_values(column) for column in batch.columns]
        for values in zip(*columns, strict=True):
            yield Row(number, as_json(dict(zip(batch.schema.names, values, strict=True))))
            number += 1


def _batches(part: Part) -> Iterator[pa.RecordBatch]:
    with open_raw(part.file) as raw:
        if part.file.format == "parquet":
            assert part.span is not None
            with pq.ParquetFile(raw, page_checksum_verification=True) as file:
                yield from file.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=list(range(*part.span)))
            return
        for batch in _stream(raw) if part.span is None else _of_file(raw, *part.span):
            batch.validate(full=True)  # otherwise invalid offsets would be read unchecked
            yield from (batch.slice(start, ROWS_AT_ONCE) for start in range(0, batch.num_rows, ROWS_AT_ONCE))


def _of_file(raw: io.BufferedIOBase, start: int, end: int) -> Iterator[pa.RecordBatch]:
    file = _open_file(raw)
    return (file.get_batch(position) for position in range(start, end))


def _open_file(raw: io.BufferedIOBase) -> pa.ipc.RecordBatchFileReader:
    return pa.ipc.open_file(pa.PythonFile(raw, "r"))


def _stream(raw: io.BufferedIOBase) -> Iterator[pa.RecordBatch]:
    ends = MARK + ZERO if raw.read(len(MARK)) == MARK else ZERO
    raw.seek(-len(ends), 2)
    if raw.read() != ends:  # Arrow does not notice a stream that was cut between two batches
        raise OSError("the end marker of the Arrow stream is missing, so it was cut off or is still being written")
    raw.seek(0)
    return iter(pa.ipc.open_stream(pa.PythonFile(raw, "r")))
