"""What a file holds, found out from its beginning.

Of JSON: a row per line, one array, or objects over several lines.
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
"""How text begins that is not UTF-8; UTF-32 first, whose mark begins like UTF-16's."""


def sniff(file: InputFile) -> FileFormat:
    """Tell how the rows of a file stand in it.

    Raises:
        UserError: It is not UTF-8, or not what its suffix says.
        OSError: It cannot be read.
    """
    head = read_head(file, HEAD_BYTES)
    if file.format == "arrow":
        return _kind_of_arrow(head, file.path)
    for beginning, encoding in _ENCODINGS.items():
        if head.startswith(beginning):
            raise UserError(
                f"{file.path} is {encoding}, and rows are UTF-8.",
                f"Convert it: iconv -f {encoding} -t UTF-8 {file.path} > rows{SUFFIX_OF.get(file.format, '.jsonl')}",
            )
    if file.format in SEPARATED:
        if b"\0" in head[:2]:
            raise UserError(f"{file.path} is UTF-16 or no text, and rows are UTF-8.", "Save it as CSV in UTF-8.")
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
    """Tell Arrow's files, which have an index, from its streams."""
    if head.startswith(b"ARROW1"):
        return "arrow"
    # A stream begins with the length of its schema, since version 0.15 after a mark.
    if head.startswith(b"\xff\xff\xff\xff") or head[2:4] == b"\0\0":
        return "arrow_stream"
    what = "is of Feather version 1, which nothing writes any more" if head.startswith(b"FEA1") else "is no Arrow file"
    raise UserError(f"{path} {what}.", "Write it again, such as with pyarrow.feather.write_feather.")


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True


def _goes_on(text: str, line_end: int, is_all: bool) -> bool:
    """Tell whether the object that begins here ends on a later line.

    Perhaps that is beyond the text.
    """
    try:
        _, end = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode(text)
    except json.JSONDecodeError as error:
        is_unfinished = error.msg.startswith("Unterminated string") or error.pos >= len(text) - LONGEST_WORD
        return is_unfinished and not is_all
    except RecursionError:
        return False
    return end > line_end
