"""Rearrange command lines as people type them, and explain typos.

Typer requires an option after its command, so `nemotron super3 -c tiny sft` would fail. `arrange` moves options to
their command, using Typer's own description of the commands, and explains those that it cannot place.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nemotron.errors import UserError, did_you_mean

_HELP = ("-h", "--help")
_NUMBER = re.compile(r"-\d+(\.\d+)?")


class UsageError(UserError):
    """A command line that does not parse: exit code 2, as for every Unix tool."""


@dataclass(frozen=True)
class Arranged:
    """A parsed command line."""

    command: Any
    """Typer's command."""
    path: list[str]
    """Its full name: nemotron, super3, sft."""
    arguments: list[str] | None
    """Subcommands, then their options, then the rest; None if help is requested."""


def arrange(root: Any, arguments: list[str]) -> Arranged:
    """Put a command line in Typer's order; a group alone requests its help.

    Args:
        root: What `typer.main.get_command` returns.
        arguments: The words, options in any place.

    Raises:
        UsageError: An unknown command or option, an option of another command, an option without its value, or options
            on a group without a command.
    """
    commands = dict(walk_commands(root, "nemotron"))
    options, words, literal = _split(arguments, commands)
    command, path = root, ["nemotron"]
    while is_group(command) and words:
        path.append(words.pop(0))
        command = _subcommand(command, path, commands)
    if any(name in _HELP for name, _ in options) or (is_group(command) and not options):
        return Arranged(command, path, None)
    for name, _ in options:
        if is_group(command) and name not in option_names(command):
            raise UsageError(f"{' '.join(path)} needs a command.", f"One of: {', '.join(command.commands)}.")
        if name not in option_names(command):
            raise UsageError(f"{name} does not apply to {' '.join(path)}.", _where_it_applies(name, commands))
    flat = [token for name, value in options for token in (name, value) if token is not None]
    return Arranged(command, path, [*path[1:], *flat, *words, *literal])


def is_group(command: Any) -> bool:
    """Tell whether a Typer command has subcommands."""
    return hasattr(command, "commands")


def option_names(command: Any) -> dict[str, bool]:
    """List the options of a Typer command, and whether each takes a value."""
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    return {name: not option.is_flag for option in options for name in option.opts}


def walk_commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every command of the tree with its full name."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk_commands(child, f"{path} {name}")


def _split(arguments: list[str], commands: dict[str, Any]) -> tuple[list[tuple[str, str | None]], list[str], list[str]]:
    """Split off options with their values, other words, and what follows `--`."""
    takes_value = {name: takes for command in commands.values() for name, takes in option_names(command).items()}
    takes_value.update(dict.fromkeys(_HELP, False))
    options: list[tuple[str, str | None]] = []
    words: list[str] = []
    queue = list(arguments)
    while queue:
        token = queue.pop(0)
        if token == "--":
            return options, words, [token, *queue]
        if not token.startswith("-") or token == "-" or _NUMBER.fullmatch(token):
            words.append(token)
            continue
        name, attached = split_option(token)
        if name not in takes_value:
            raise UsageError(f"There is no option {name}.", _nearest_option(token, name, takes_value))
        if takes_value[name]:
            value = _next_value(name, queue) if attached is None else attached
            options.append((name, value if token.startswith("--") else value.removeprefix("=")))
        elif attached is None:
            options.append((name, None))
        elif token.startswith("--") or attached.startswith("="):
            raise UsageError(f"{name} takes no value.", f"Write {name} alone.")
        else:  # -dc tiny: flags written together
            options.append((name, None))
            queue.insert(0, f"-{attached}")
    return options, words, []


def split_option(token: str) -> tuple[str, str | None]:
    """Split an option from the value attached to it.

    `--config=tiny`, `-ctiny`, `-c=tiny` (whose value keeps the `=`); alone it has none.
    """
    if token.startswith("--"):
        name, equals, value = token.partition("=")
        return name, value if equals else None
    return token[:2], token[2:] or None


def _next_value(name: str, queue: list[str]) -> str:
    if not queue or (queue[0].startswith("-") and not _NUMBER.fullmatch(queue[0])):
        raise UsageError(f"{name} needs a value.", f"Write {name} VALUE, or {name}=VALUE if it begins with a dash.")
    return queue.pop(0)


def _subcommand(group: Any, path: list[str], commands: dict[str, Any]) -> Any:
    name = path[-1]
    if name in group.commands:
        return group.commands[name]
    parent = " ".join(path[:-1])
    elsewhere = [full for full in commands if full.endswith(f" {name}") and full != parent]
    near = did_you_mean(name, group.commands)
    if elsewhere:
        near = f"Did you mean {elsewhere[0]}?"
    raise UsageError(f'{parent} has no command "{name}".', near or f"It has: {', '.join(group.commands)}.")


def _nearest_option(token: str, name: str, known: dict[str, bool]) -> str:
    bare = [option.lstrip("-") for option in known]  # the dashes alone would make short names similar
    if "." in name or ("=" in token and not did_you_mean(name.lstrip("-"), bare)):
        return f"Config values are written without dashes: {token.lstrip('-')}"
    if longer := next((option for option in known if len(name) > 2 and option.startswith(name)), None):
        return f'Did you mean "{longer}"?'
    return did_you_mean(name, known) or "--help lists the options of a command."


def _where_it_applies(name: str, commands: dict[str, Any]) -> str:
    owners = [path for path, command in commands.items() if name in option_names(command)]
    return f"It belongs to: {', '.join(owners)}."
