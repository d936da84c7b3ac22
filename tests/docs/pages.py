"""The pages of the documentation, and what stands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*FRONT, *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code."""

    page: Path
    line: int
    """Of its first line, from 1."""
    info: tuple[str, ...]
    """What stands after the fence: the language, and the file that the block is. Empty where the block is indented."""
    text: str


def name(page: Path) -> str:
    """The page's path below the repository."""
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section_of(page: Path, heading: str) -> str:
    """The text below a heading, up to the next one of the same level."""
    return page.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(page: Path) -> Iterator[Block]:
    """Every block of code, fenced or indented by four, in the order of the page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        found.append(Block(page, text.count("\n", 0, fence.start(2)) + 1, tuple(fence[1].split()), fence[2]))
    plain = _FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
    for block in re.finditer(r"(?<=\n\n)(?:    .*\n(?:\n(?=    ))?)+", plain):
        lines = [line.removeprefix("    ") for line in block[0].splitlines()]
        found.append(Block(page, plain.count("\n", 0, block.start()) + 1, (), "\n".join(lines) + "\n"))
    return iter(sorted(found, key=lambda block: block.line))
