"""What is in place of a file is refused at once, wherever this package opens one."""

import ast
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.files import regular_files
from nemotron.files.regular_files import open_file, open_parquet, read_bytes, read_text, refuse_other

SRC = Path(__file__).resolve().parents[2] / "src" / "nemotron"
OWN = {
    "charts/chart.py", "cli/completion/keys.py", "html_page.py", "launch/profiles/fields.py", "lineage/origin.py",
    "training/recipe/known_settings.py", "training/reporting/report/page.py", "data_prep/report/page.py",
    "data_prep/inspection/page.py", "data_prep/chat/template.py", "training/weights/hf_files.py",
    "cli/completion/install.py", "data_prep/sources/tables/columnar.py", "files/regular_files.py",
}  # fmt: skip
"""Modules that read files of this package, or ones that they have just made or looked at."""
OF_THE_SYSTEM = {
    "data_prep/chat/jinja_sandbox.py", "data_prep/engine/local.py", "data_prep/preload.py", "files/folder_lock.py",
    "recipes/ray_node.py", "recipes/torchrun.py", "training/generation/memory.py",
}  # fmt: skip
"""Modules that read /proc or what another process of this package writes."""


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


NO_FILES: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "socket": make_socket,
    "device without end": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "broken link": lambda path: path.symlink_to("gone"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize(
    "use", [open_file, read_bytes, read_text, refuse_other, open_parquet, lambda path: open_file(path, "r+b").close()]
)
def test_only_a_file_is_opened(
    use: Callable[[Path], Any], make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    make(Path("place"))
    with pytest.raises(OSError, match="place"):
        use(Path("place"))


def test_a_folder_is_told_from_a_file_and_not_left_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    assert os.listdir("/proc/self/fd") == before


def test_a_file_is_opened_as_usual(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    for line in ("one\n", "two\r\n"):
        with open_file(path, "a", encoding="utf-8", newline="") as file:
            file.write(line)
    assert read_bytes(path) == b"one\ntwo\r\n"
    assert read_text(path) == "one\ntwo\n"
    refuse_other(path)


@pytest.mark.parametrize("read", [read_bytes, read_text])
def test_no_more_is_read_at_once_than_memory_holds(
    read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regular_files, "LARGEST", 3)
    (tmp_path / "three").write_bytes(b"abc")
    assert read(tmp_path / "three") in (b"abc", "abc")
    (tmp_path / "four").write_bytes(b"abcd")
    with pytest.raises(OSError, match=r"File too large.*four"):
        read(tmp_path / "four")


def test_text_has_the_encoding_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes(b"\xe9")
    assert read_text(path, encoding="latin-1") == "é"
    assert read_text(path, errors="replace") == "\ufffd"
    with pytest.raises(UnicodeDecodeError):
        read_text(path)


def test_a_file_that_is_made_has_the_usual_mode(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        open_file(tmp_path / "new", "ab").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o644


def test_a_damaged_page_of_parquet_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"a": ["first", "second"]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", write_statistics=False)
    with open_parquet(path) as file:
        assert file.read() == table
    path.write_bytes(path.read_bytes().replace(b"firs", b"fist", 1))
    with open_parquet(path) as file, pytest.raises(OSError, match="CRC"):
        file.read()


def opens(node: ast.AST) -> bool:
    """Whether this opens a file to read or append to."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("read_bytes", "read_text"):
        return True
    if not isinstance(node.func, ast.Name | ast.Attribute):
        return False
    opener = ast.unparse(node.func)
    if opener.startswith("pq.read_") or opener in ("pq.ParquetFile", "ParquetFile"):
        return True
    is_open = opener == "open" or (opener.endswith(".open") and opener != "zstandard.open")
    modes = [each.value for each in node.args if isinstance(each, ast.Constant)]
    return is_open and any(mode in ("r", "rb", "a", "ab", "a+b", "r+b") for mode in modes)


def test_no_other_module_opens_files_itself() -> None:
    found = {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if any(opens(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found - OWN - OF_THE_SYSTEM == set()
