"""What is made from the code: pages of docs/reference/, and the schemas of config/schema/.

    python -m tools.reference            write them
    python -m tools.reference --check    fail if one is out of date

Descriptions stand in the code, next to what they describe: the help of an option, the docstring below a field, the
text of a reason. To change a page, change them and run this again.
"""

from pathlib import Path

from tools.reference.cli import cli_page
from tools.reference.config_keys import data_prep_page, profiles_page, rollouts_page, sft_page
from tools.reference.file_formats import file_formats_page, metrics_page
from tools.reference.outcomes import outcomes_page

from nemotron.cli.config import Kind, schema_text
from nemotron.files.paths import config_dir

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
MADE_BY = "<!-- Made from the code by `python -m tools.reference`. Change the code, and run it again. -->"
_PAGES = {
    "cli.md": cli_page,
    "config-data-prep.md": data_prep_page,
    "config-sft.md": sft_page,
    "config-rollouts.md": rollouts_page,
    "profiles.md": profiles_page,
    "file-formats.md": file_formats_page,
    "metrics.md": metrics_page,
    "outcomes.md": outcomes_page,
}
PAGES = tuple(_PAGES)
SCHEMAS = config_dir() / "schema"


def make_page(name: str) -> str:
    """Return the text of a page."""
    return f"{MADE_BY}\n\n{_PAGES[name]().strip()}\n"


def make_files() -> dict[Path, str]:
    """Return the text of every file that is made, by its path."""
    pages = {FOLDER / name: make_page(name) for name in PAGES}
    return pages | {SCHEMAS / f"{kind}.json": f"{schema_text(kind)}\n" for kind in Kind}
