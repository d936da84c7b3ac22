"""Detect the format of a file from its beginning.

JSON may be a row per line, one array, or objects over several lines.
"""

import codecs
import json
import re

from nemotron.data_prep.sources.input_file import SEPARATED, FileFormat, InputFile, may_be_array
from nemotron.data_prep.sources.json_array import LONGEST_WORD
from nemotron.data_prep.sources.opening import read_head
from nemotron.errors import UserError

HEAD_BYTES = 2**16
SUFFIX_OF = {"csv": ".csv", "tsv": ".tsv"}
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16", b"{\0": "UTF-16", b"\0{": "UTF-16", b"[\0": "UTF-16", b"\0[": "UTF-16",
}  # fmt: skip
"""Byte order marks of other encodings than UTF-8; UTF-32 first, because its mark begins like UTF-16's."""


def sniff(file: InputFile) -> FileFormat:
    """Detect the format of a file's rows.

    Raises:
        UserError: The file is not UTF-8, or not what its suffix says.
        OSError: It cannot be read.
    """
    head = read_head(file, HEAD_BYTES)
    if file.format == "arrow":
        return _kind_of_arrow(head, file.path)
    for beginning, encoding in _ENCODINGS.items():
        if head.startswith(beginning):
            raise UserError(
                f"{file.path} is {encoding}, but rows must be UTF-8.",
                f"Convert it: iconv -f {encoding} -t UTF-8 {file.path} > rows{SUFFIX_OF.get(file.format, '.jsonl')}",
            )
    if file.format in SEPARATED:
        if b"\0" in head[:2]:
            raise UserError(f"{file.path} is UTF-16 or not text, but rows must be UTF-8.", "Save it as CSV in UTF-8.")
        return file.format
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    line, newline, rest = text.partition("\n")
    if text.startswith("["):
        is_row = bool(rest.strip()) and _is_json(line) and not may_be_array(file.path)
        is_array = may_be_array(file.path) or re.match(r"\[\s*[{\]]", text) is not None
        return "json_array" if is_array and not is_row else "jsonl"
    if text.startswith("{") and newline and _goes_on(text, len(line), is_all=len(head) < HEAD_BYTES):
        return "json_stream"
    return "jsonl"


def _kind_of_arrow(head: bytes, path: str) -> FileFormat:
    """Distinguish Arrow files, which have an index, from Arrow streams."""
    if head.startswith(b"ARROW1"):
        return "arrow"
    # A stream begins with the length of its schema, since version 0.15 after a mark.
    if head.startswith(b"\xff\xff\xff\xff") or head[2:4] == b"\0\0":
        return "arrow_stream"
    what = "is an outdated Feather file of version 1" if head.startswith(b"FEA1") else "is not an Arrow file"
    raise UserError(f"{path} {what}.", "Write it again, for example with pyarrow.feather.write_feather.")


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True


def _goes_on(text: str, line_end: int, is_all: bool) -> bool:
    """Tell whether the object that begins here ends on a later line."""
    try:
        _, end = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode(text)
    except json.JSONDecodeError as error:
        is_unfinished = error.msg.startswith("Unterminated string") or error.pos >= len(text) - LONGEST_WORD
        return is_unfinished and not is_all
    except RecursionError:
        return False
    return end > line_end
