"""Answer a shell that completes a command line."""

import os
import re
import shlex
from typing import Any

from nemotron.cli.completion import VARIABLE
from nemotron.cli.completion.candidates import Candidate, find_candidates
from nemotron.cli.completion.words import find_place
from nemotron.printable import printable

_SPLITTERS = ("=", ":")
"""Bash makes these separate words (COMP_WORDBREAKS), although no space surrounds them."""
_SHELL_CHARACTERS = re.compile(r"([^\w./:=@%+,~-])")
"""Characters to escape, since bash and zsh insert a candidate as it is, and a file may be named `$(reboot)`."""


def answer(root: Any) -> str:
    """Return the candidates for the shell that asks, one per line.

    For bash, a candidate is the text after the last `=` or `:`. Zsh and fish take whole words, each followed by a tab
    and its help.

    Args:
        root: Typer's command `nemotron`.
    """
    shell = os.environ[VARIABLE].removeprefix("complete_")
    words = _split(os.environ.get("COMP_WORDS", ""))
    asked = os.environ.get("COMP_CWORD", "")
    cursor = int(asked) if asked.isdecimal() else len(words)
    before, typed, kept = _join_what_bash_split([*words[1:cursor], *(words[cursor : cursor + 1] or [""])])
    found = find_candidates(find_place(root, before), typed)
    # A name with a newline would be two candidates; one with an escape sequence would reach the terminal.
    found = [each for each in found if printable(each.value, one_line=True) == each.value]
    return "\n".join(_format(candidate, shell, kept) for candidate in found)


def _split(text: str) -> list[str]:
    """Split text at newlines, else at spaces; a quote may be open."""
    words = text.split("\n") if "\n" in text else text.split(" ")
    return [_unquote(word) for word in words]


def _unquote(word: str) -> str:
    for closing in ("", "'", '"'):
        try:
            return "".join(shlex.split(word + closing))
        except ValueError:
            continue
    return word


def _join_what_bash_split(words: list[str]) -> tuple[list[str], str, int]:
    """Join `key`, `=`, `value` again.

    Returns:
        The words before the cursor, the word under it, and how many characters of that the shell keeps.
    """
    joined: list[str] = []
    kept, glue = 0, False
    for word in words:
        if joined and (word in _SPLITTERS or glue):
            kept = len(joined[-1]) + (len(word) if word in _SPLITTERS else 0)
            joined[-1] += word
        else:
            kept = 0
            joined.append(word)
        glue = word in _SPLITTERS
    return joined[:-1], joined[-1], kept


def _format(candidate: Candidate, shell: str, kept: int) -> str:
    value = candidate.value[kept:]
    if shell != "fish":  # fish escapes candidates itself
        value = _SHELL_CHARACTERS.sub(r"\\\1", value)
    return value if shell == "bash" or not candidate.help else f"{value}\t{candidate.help}"
