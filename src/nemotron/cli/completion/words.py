"""Find the command or option that the word under the cursor belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nemotron.cli.usage import is_group, option_names, split_option


@dataclass(frozen=True)
class Place:
    """The position of the cursor in a command."""

    command: Any
    """Typer's command, as far as it is typed; None after a word that names no command."""
    path: tuple[str, ...]
    """Its full name without `nemotron`: super3, sft."""
    option: str | None
    """The option whose value is completed."""
    arguments: tuple[str, ...]
    """Arguments of the command before the cursor."""


def find_place(root: Any, words: Sequence[str]) -> Place:
    """Follow the words before the cursor, with options and commands in any order.

    Args:
        root: Typer's command `nemotron`.
        words: The words before the one under the cursor.
    """
    takes_value = dict(_all_options(root))
    command, path, option = root, [], None
    arguments: list[str] = []
    for word in words:
        if option is not None:
            option = None
        elif word.startswith("-") and word != "-":
            name, attached = split_option(word)
            option = name if takes_value.get(name) and attached is None else None
        elif is_group(command):
            if word not in command.commands:
                return Place(None, tuple(path), None, ())
            command = command.commands[word]
            path.append(word)
        else:
            arguments.append(word)
    return Place(command, tuple(path), option, tuple(arguments))


def _all_options(command: Any) -> list[tuple[str, bool]]:
    own = list(option_names(command).items())
    return own + [pair for child in getattr(command, "commands", {}).values() for pair in _all_options(child)]
