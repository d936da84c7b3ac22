"""The end of a command after training."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from nemotron.cli.exit import end, skip_last_collections


class Cycle:
    """An object that only the garbage collector frees, and that writes a file when it goes."""

    def __init__(self, path: Path) -> None:
        self.path, self.itself = path, self

    def __del__(self) -> None:
        self.path.write_text("written")


@pytest.fixture(autouse=True)
def nothing_is_frozen() -> Iterator[None]:
    """Undo what `tests/conftest.py` did to the collector, for one test."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_what_lives_is_left_alone_and_what_is_garbage_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    Cycle(tmp_path / "file")
    with pytest.raises(SystemExit) as ended:
        end(3)
    assert ended.value.code == 3
    assert (tmp_path / "file").read_text() == "written"
    assert gc.get_freeze_count() > 10_000


def test_a_script_without_torch_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    skip_last_collections()
    assert gc.get_freeze_count() < 10_000


ENDING = """
import atexit, sys
from nemotron.cli.exit import end, skip_last_collections
atexit.register(print, "an exit handler")
print("a line", end=" ")
{before}
try:
    end(3)
finally:
    print("the usual way")
"""


@pytest.mark.parametrize(
    ("before", "printed"),
    [
        ("", "a line an exit handler\n"),
        ("sys.modules['torch'] = sys", "a line the usual way\nan exit handler\n"),
        ("sys.setprofile(lambda *_: None)", "a line the usual way\nan exit handler\n"),
        ("import cProfile; cProfile.Profile().enable()", "a line the usual way\nan exit handler\n"),
    ],
)
def test_exit_handlers_run_and_what_was_printed_is_written(before: str, printed: str) -> None:
    code = ENDING.format(before=before)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (3, printed)
