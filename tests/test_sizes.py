"""A module is read in one go, and a room is taken in at a glance: limits on files and folders."""

from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src"
LINES, FILES = 300, 15


def test_no_module_is_long() -> None:
    lengths = {str(path.relative_to(SRC)): len(path.read_text().splitlines()) for path in SRC.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > LINES} == {}


def test_no_folder_is_full() -> None:
    folders = [folder for folder in SRC.rglob("*") if folder.is_dir() and folder.name != "__pycache__"]
    counts = {str(folder.relative_to(SRC)): sum(path.is_file() for path in folder.iterdir()) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > FILES} == {}
