"""The documentation names what exists: its links, files and pages are checked against the repository."""

import re
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, PAGES, ROOT, anchors, name, section_of

from nemotron.data_prep.run_hash import FORMAT_VERSION


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:src|tests|docs|config|tools|examples|benchmarks|\.ci)/[\w./-]+)`", page.read_text(encoding="utf-8")
    )
    assert [file for file in named if not (ROOT / file).exists()] == []


def test_the_tree_of_the_readme_is_that_of_the_package() -> None:
    tree = section_of(ROOT / "README.md", "The repository").split("src/nemotron/\n")[1].split("\ntests/")[0]
    listed = set(re.findall(r"^ {2}(?: {2})?(\w+)/", tree, re.MULTILINE))
    package = ROOT / "src" / "nemotron"
    rooms = {path.name for path in package.iterdir() if path.is_dir()}
    for parent in ("data_prep", "training"):
        rooms |= {path.name for path in (package / parent).iterdir() if path.is_dir()}
    assert listed == rooms - {"__pycache__"}


def test_the_changelog_has_the_format_version() -> None:
    rows = re.findall(r"^\| (\d+) \| ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(FORMAT_VERSION, 0, -1))


def test_the_index_lists_every_page() -> None:
    listed = re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    pages = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    assert sorted(listed) == sorted(set(pages) - {"index.md"})
