"""The command line, command by command, as Typer knows it."""

from typing import Any

import typer
from tools.reference.tables import code, table

from nemotron.cli.app import app
from nemotron.cli.usage import is_group, walk_commands


def cli_page() -> str:
    """Return the page of all commands, their arguments and options."""
    commands = [(path, command) for path, command in walk_commands(typer.main.get_command(app), "nemotron")]
    listed = table(
        ("Command", ""),
        ((f"[`{path}`](#{path.replace(' ', '-')})", _summary(command)) for path, command in commands[1:]),
    )
    intro = (
        "# Command line\n\n`--help` prints the same at every level. Options may stand before or after a subcommand. "
        "A config value is\nwritten `key=value`, without dashes: [configuration.md](configuration.md)."
    )
    return "\n\n".join([intro, listed, *(_command(path, command) for path, command in commands)])


def _summary(command: Any) -> str:
    return (command.help or "").partition("\n")[0]


def _command(path: str, command: Any) -> str:
    """Return the section of one command or group."""
    text, _, examples = (command.help or "").partition("\n\n\b\nExamples:\n")
    parts = [f"## {path}", text]
    if not is_group(command):
        pieces = command.collect_usage_pieces(typer.Context(command, info_name=path))
        parts.insert(1, f"`{path} {' '.join(pieces)}`")
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    if arguments:
        parts.append(
            table(("Argument", "Meaning"), ((code(one.metavar or one.name), one.help or "") for one in arguments))
        )
    if options:
        parts.append(table(("Option", "Default", "Meaning"), map(_option, options)))
    if examples:
        parts.append("\n".join(f"    {line.strip()}" for line in examples.splitlines() if line.strip()))
    return "\n\n".join(parts)


def _option(option: Any) -> tuple[str, str, str]:
    value = "" if option.is_flag else f" {option.metavar or str(option.name).upper()}"
    default = "" if option.default is None or option.is_flag else code(str(option.default))
    return code(", ".join(option.opts) + value), default, option.help or ""
