"""List the candidates for the word under the cursor."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nemotron.cli.completion import keys, known
from nemotron.cli.completion.words import Place
from nemotron.cli.usage import is_group, split_option

_HELP = "Show help and exit."


@dataclass(frozen=True)
class Candidate:
    """A word to complete to. After `=`, `.` or `/` the word continues."""

    value: str
    help: str = ""


_Values = Callable[[tuple[str, ...], str], Iterator[tuple[str, str]]]
"""Lists values with their help, given the command and the typed part of the value."""

_OPTION_VALUES: dict[str, _Values] = {
    "--config": known.configs,
    "--prep-config": known.prep_configs,
    "--run": known.profiles,
    "--batch": known.profiles,
    "--artifacts": known.folders,
    "--data": known.folders,
    "--only": known.outcomes,
    "--peft": lambda command, typed: ((word, "") for word in ("lora", "dora", "none")),
    "--thinking": lambda command, typed: ((word, "") for word in ("on", "off", "low")),
    "--stage": lambda command, typed: ((word, "") for word in ("prep", "sft")),
}
_ARGUMENT_VALUES: dict[tuple[str, ...], _Values] = {
    ("super3", "sft"): keys.complete_key,
    ("super3", "pipe"): keys.complete_key,
    ("super3", "data", "rollouts"): keys.complete_key,
    ("super3", "data", "prep", "sft"): keys.complete_key_or_file,
    ("super3", "data", "inspect"): known.files,
    ("super3", "data", "verify"): known.folders,
    ("super3", "data", "import"): known.folders,
    ("super3", "report"): known.folders,
    ("super3", "data", "blend", "show"): known.files,
    ("super3", "data", "blend", "check"): known.files,
    ("super3", "model", "chat"): known.folders_and_artifacts,
    ("super3", "model", "export"): known.folders,
    ("super3", "model", "import"): known.folders,
    ("artifacts", "list"): known.artifacts,
    ("artifacts", "show"): known.artifacts,
    ("artifacts", "lineage"): known.artifacts,
    ("config", "schema"): lambda command, typed: ((word, "") for word in ("sft", "data_prep", "rollouts")),
    ("logs",): known.jobs,
    ("cancel",): known.jobs,
}
_LATER_ARGUMENTS: dict[tuple[str, ...], _Values] = {("super3", "data", "inspect"): keys.complete_key}
"""Values of further arguments, for commands whose first argument is of another kind."""


def find_candidates(place: Place, typed: str) -> list[Candidate]:
    """List the words that begin with the typed text.

    Args:
        place: The position of the cursor.
        typed: The typed part of its word.
    """
    if place.command is None:
        return []
    if place.option is not None:
        return _values_of(place, place.option, typed)
    if typed.startswith("-") and typed != "-":
        name, value = split_option(typed)
        if typed.startswith("--") and value is not None:
            return [Candidate(f"{name}={one.value}", one.help) for one in _values_of(place, name, value)]
    if typed.startswith("-"):
        return _matching(_options(place.command), typed)
    if is_group(place.command):
        return _matching(_commands(place.command), typed)
    values = _ARGUMENT_VALUES.get(place.path)
    if place.arguments:
        values = _LATER_ARGUMENTS.get(place.path, values)
    return _matching(values(place.path, typed), typed) if values else []


def _values_of(place: Place, name: str, typed: str) -> list[Candidate]:
    """List the values of an option, given any of its names."""
    for spelling in _spellings(place.command, name):
        if spelling in _OPTION_VALUES:
            return _matching(_OPTION_VALUES[spelling](place.path, typed), typed)
    return _matching(known.files(place.path, typed), typed)


def _spellings(command: Any, name: str) -> list[str]:
    """List the names of an option of this command or its subcommands."""
    for parameter in command.params:
        if name in parameter.opts:
            return parameter.opts
    below = (_spellings(child, name) for child in getattr(command, "commands", {}).values())
    return next((found for found in below if len(found) > 1), [name])


def _options(command: Any) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            for name in parameter.opts:
                if name.startswith("--"):
                    yield name, parameter.help or ""
    yield "--help", _HELP


def _commands(group: Any) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        yield name, command.get_short_help_str(limit=60)


def _matching(values: Iterator[tuple[str, str]], typed: str) -> list[Candidate]:
    return [Candidate(value, " ".join(text.split())) for value, text in values if value.startswith(typed)]
