"""Every command of the documentation parses: command, options and the config it names exist. So does each file."""

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import typer
import yaml
from tests.docs.pages import PAGES, Block, blocks, name

from nemotron.cli.app import app
from nemotron.cli.usage import arrange
from nemotron.config import find_config


def commands() -> list[str]:
    """Every `nemotron ...` line in the blocks of the documentation."""
    lines = [line for page in PAGES for block in blocks(page) for line in block.text.splitlines()]
    found = [re.fullmatch(r"(?:\$ )?(?:uv run )?(?:[A-Z_]+=\S+ )*(nemotron .+)", line) for line in lines]
    return list(dict.fromkeys(match[1] for match in found if match))


@cache
def nemotron() -> Any:
    return typer.main.get_command(app)


def config_group(command: list[str]) -> str:
    """Where the configs of a command are."""
    if "rollouts" in command:
        return "rollouts"
    return "data_prep" if "data" in command else ""


@pytest.mark.parametrize("line", commands())
def test_a_command_parses(line: str) -> None:
    command = arrange(nemotron(), shlex.split(line.partition(" > ")[0], comments=True)[1:])
    assert command.arguments is not None, "names a command, not only a group of commands"
    for option, value in pairwise(command.arguments):
        if option in ("-c", "--config") and not value.endswith(".yaml"):
            assert find_config(value, config_group(command.path)).is_file()


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 60


READERS: dict[str, Callable[[str], object]] = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
FILES = [block for page in PAGES for block in blocks(page) if block.info and block.info[0] in READERS]


@pytest.mark.parametrize("block", FILES, ids=lambda block: f"{name(block.page)}:{block.line}")
def test_a_file_is_one_of_its_language(block: Block) -> None:
    assert READERS[block.info[0]](block.text)
