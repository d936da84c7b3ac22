"""The documentation names what exists: its links, commands, settings and drop reasons are checked against the code."""

import re
import shlex
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from nemotron.cli.app import app
from nemotron.cli.usage import arrange
from nemotron.config import find_config
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.drop_reasons import DropReason, LeftOut
from nemotron.data_prep.run_hash import FORMAT_VERSION
from nemotron.launch.profiles import Profile
from nemotron.rollouts.config import RolloutsConfig

ROOT = Path(__file__).resolve().parents[1]
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*FRONT, *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one of the same level."""
    return section_of(ROOT / "docs" / page, heading)


def section_of(path: Path, heading: str) -> str:
    """The same of any page."""
    text = path.read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_column(text: str) -> set[str]:
    """The code names in the first column of the tables of a text."""
    cells = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def commands() -> list[str]:
    """Every `nemotron ...` command line in the indented blocks of the documentation."""
    lines = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return re.findall(r"^    (?:uv run )?(nemotron .+)$", lines, re.MULTILINE)


def dotted(schema: type, prefix: str = "") -> set[str]:
    """The keys of a config schema, dotted."""
    keys = set()
    for field in fields(schema):
        kind: Any = field.type
        nested = isinstance(kind, type) and is_dataclass(kind)
        keys |= dotted(kind, f"{prefix}{field.name}.") if nested else {prefix + field.name}
    return keys


def config_group(command: list[str]) -> str:
    """Where the configs of a command are."""
    if "rollouts" in command:
        return "rollouts"
    return "data_prep" if "data" in command else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", FRONT, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|config|tools|examples|\.ci)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_tree_of_the_readme_is_that_of_the_package() -> None:
    tree = section_of(ROOT / "README.md", "The repository").split("src/nemotron/\n")[1].split("\n    tests/")[0]
    listed = set(re.findall(r"^ {6}(?: {2})?(\w+)/", tree, re.MULTILINE))
    package = ROOT / "src" / "nemotron"
    rooms = {path.name for path in package.iterdir() if path.is_dir()}
    for parent in ("data_prep", "training"):
        rooms |= {path.name for path in (package / parent).iterdir() if path.is_dir()}
    assert listed == rooms - {"__pycache__"}


def test_the_changelog_has_the_format_version() -> None:
    rows = re.findall(r"^\| (\d+) \| ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(FORMAT_VERSION, 0, -1))


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert listed == {page.name for page in PAGES[len(FRONT) :]} - {"index.md"}


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    command = arrange(typer.main.get_command(app), shlex.split(line, comments=True)[1:])
    assert command.arguments is not None, "names a command, not only a group of commands"
    for option, value in pairwise(command.arguments):
        if option in ("-c", "--config") and not value.endswith(".yaml"):
            assert find_config(value, config_group(command.path)).is_file()


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 20


def test_data_prep_settings_are_all_documented() -> None:
    assert first_column(section("data-prep.md", "Settings")) == dotted(DataPrepConfig)


def test_rollout_settings_are_all_documented() -> None:
    assert first_column(section("budget-control.md", "Settings of rollouts")) == dotted(RolloutsConfig)


def test_drop_reasons_are_all_documented() -> None:
    reasons = {reason.value for reason in (*DropReason, *LeftOut)}
    assert first_column(section("data-prep.md", "Why rows are dropped")) == reasons


def test_profile_keys_are_all_documented() -> None:
    not_keys = {"name", "source", "secret_env_vars", "stage_overrides", "options"}
    assert first_column(section("launching.md", "Profiles")) == {field.name for field in fields(Profile)} - not_keys
