"""Read the values of a JSON file, an array or consecutive values, piece by piece."""

import codecs
import io
import json
import re
from collections.abc import Iterator

from nemotron.errors import UserError

STRETCH_CHARACTERS = 2**22
"""Characters read at once; a longer element takes several reads."""

LONGEST_WORD = len("\\ud83d\\ude00")
"""The longest token that must not be cut: an escaped surrogate pair, `-Infinity`."""

_AFTER_ELEMENT = tuple(" \t\r\n,]")
_BLANK = re.compile(r"[ \t\r\n]*")
_HINT = "In JSONL, one object per line, a broken row costs only itself."


def array_elements(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    """Yield the text of each element of the array in `file`, in order.

    Only the boundaries of elements are found here; decoding an element may still fail.

    Raises:
        UserError: The array itself is broken; the message has the line.
    """
    stretch = _Stretch(file, name)
    stretch.expect("[")
    if stretch.next_is("]"):
        stretch.expect("]")
    else:
        yield stretch.element()
        while stretch.next_is(","):
            stretch.expect(",")
            yield stretch.element()
        stretch.expect("]")
    stretch.expect_end()


def stream_values(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    """Yield the text of each value in `file`, in order.

    Values may span lines, and a comma between two values is skipped.

    Raises:
        UserError: A value is broken, so the next one cannot be found; the message has the line.
    """
    stretch = _Stretch(file, name)
    while not stretch.is_at_end():
        yield stretch.element()
        if stretch.next_is(","):
            stretch.expect(",")


class _Stretch:
    """What is in memory of a text that is read from beginning to end."""

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        # Numbers stay text, because their values are not needed, and Python refuses numbers with thousands of digits.
        self._scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
        self._text, self._position, self._lines_before = "", 0, 1

    def element(self) -> str:
        """Return the text of the next value."""
        self._skip_blank()
        while True:
            try:
                _, end = self._scan(self._text, self._position)
            except json.JSONDecodeError as error:
                offset = error.pos - self._position  # reading more text moves the position
                if not self._may_be_unfinished(error) or not self._more():
                    raise self._explain_broken(self._position + offset, error.msg) from None
            except RecursionError:
                raise self._explain_broken(self._position, "it is nested too deeply") from None
            else:
                # A number may continue in the next read: `1`, `1.`, `1.5e` all begin with a number.
                is_whole = self._text[end - 1] in "}]" or self._text[end : end + 1] in _AFTER_ELEMENT
                if is_whole or not self._more():
                    text = self._text[self._position : end]
                    self._position = end
                    return text

    def _may_be_unfinished(self, error: json.JSONDecodeError) -> bool:
        """Tell whether more text could complete the value.

        If not, the error is reported without reading the rest of a large file.
        """
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - LONGEST_WORD

    def next_is(self, character: str) -> bool:
        self._skip_blank()
        return self._text.startswith(character, self._position)

    def expect(self, character: str) -> None:
        if not self.next_is(character):
            raise self._explain_broken(self._position, f"expecting '{character}'")
        self._position += 1

    def is_at_end(self) -> bool:
        self._skip_blank()
        return self._position >= len(self._text)

    def expect_end(self) -> None:
        if not self.is_at_end():
            raise self._explain_broken(self._position, "there is more after the end of the array")

    def _skip_blank(self) -> None:
        while True:
            found = _BLANK.match(self._text, self._position)
            assert found is not None  # it matches nothing, too
            self._position = found.end()
            if self._position < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Read more text and drop what was consumed; False at the end of the file."""
        # Read as much again as the unfinished element already has, because it is scanned from its beginning each time.
        unfinished = len(self._text) - self._position
        read = self._file.read(max(STRETCH_CHARACTERS, unfinished))
        try:
            added = self._decode(read, final=not read)
        except UnicodeDecodeError as error:
            raise self._explain_broken(len(self._text), f"it is not UTF-8: {error.reason}") from None
        self._lines_before += self._text.count("\n", 0, self._position)
        self._text, self._position = self._text[self._position :] + added, 0
        return bool(read)

    def _explain_broken(self, position: int, problem: str) -> UserError:
        line = self._lines_before + self._text.count("\n", 0, position)
        return UserError(f"{self._name}:{line} is not valid JSON: {problem}.", _HINT)
