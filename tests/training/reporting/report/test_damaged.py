"""A page of a run whose files are damaged, or were written by somebody else: less is shown, and nothing ends it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.reporting.report.made_up import END, START, record, write_run

from nemotron.training.reporting.report.compare import render_comparison
from nemotron.training.reporting.report.history import read_history
from nemotron.training.reporting.report.page import render_run
from nemotron.training.reporting.report.run_files import RunFiles

FULL_START = {
    **START,
    "machine": {"gpus": 2, "device": "NVIDIA H100", "describe": "2 x NVIDIA H100"},
    "data": {"reference": "data:v1", "splits": "/data/splits", "packs": {"train": 3}},
    "flops_per_token": 1e9,
}
ODD: tuple[Any, ...] = (None, 0, 10**30, "\x1b[31m<script>", [1], {"a": {}})
FILES = ("history.jsonl", "metrics.jsonl", "validation.jsonl", "run.json", "config.yaml", ".lock")
GARBAGE = (
    b"", b"\0" * 9, b"\xff\n", b"[" * 1000 + b"\n", b"null\n", b"[]\n", b'{"event": "start"}\n', b'{"iteration": 1}\n',
    b'{"checkpoints": 1, "output_dir": []}', b"a: &a [*a]\n", b"? [a]\n: b\n", b"[" * 3000, b"- " * 3000,
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the charts out, which take no part of an event."""
    for module in ("page", "compare"):
        monkeypatch.setattr(f"nemotron.training.reporting.report.{module}.render_chart", lambda chart: "")


def pages_of(folder: Path) -> str:
    run = RunFiles(folder)
    return render_run(run, folder) + render_comparison({"a": run})


def change_each_field(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the event with each field gone, and with each odd value in its place."""
    for name, value in event.items():
        yield {key: inner for key, inner in event.items() if key != name}
        yield from ({**event, name: odd} for odd in ODD)
        if isinstance(value, dict):
            yield from ({**event, name: changed} for changed in change_each_field(value))


def test_a_field_of_an_event_may_hold_anything(tmp_path: Path) -> None:
    for start in change_each_field(FULL_START):
        assert "\x1b" not in pages_of(write_run(tmp_path, history=[start]))
    for end in change_each_field({**END, "state": "failed", "message": "out of memory"}):
        assert "\x1b" not in pages_of(write_run(tmp_path, history=[FULL_START, end]))


def test_a_field_of_a_record_may_hold_anything(tmp_path: Path) -> None:
    for changed in change_each_field(record(2, peak_memory_gb=3.0)):
        assert "\x1b" not in pages_of(write_run(tmp_path, [record(1), changed], history=[FULL_START]))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", GARBAGE)
def test_a_file_may_hold_anything(tmp_path: Path, name: str, content: bytes) -> None:
    (write_run(tmp_path) / name).write_bytes(content)
    assert "</html>" in pages_of(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_something_else_may_be_in_a_files_place(tmp_path: Path, name: str) -> None:
    file = write_run(tmp_path) / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    if name.endswith(".jsonl"):
        with pytest.raises(OSError, match="Not a regular file") as caught:
            pages_of(tmp_path)
        assert caught.value.filename == str(file)
    else:
        assert "</html>" in pages_of(tmp_path)


def test_an_event_keeps_what_is_whole_in_it(tmp_path: Path) -> None:
    damaged = {**FULL_START, "iteration": "2", "machine": {"gpus": "many", "device": "H100"}, "notes": ["one", 2]}
    write_run(tmp_path, history=[damaged, {**END, "state": "elsewhere"}, {**END, "time": "yesterday"}])
    start, end = read_history(tmp_path)
    assert start == {**FULL_START, "iteration": 0, "machine": {"device": "H100"}, "notes": ["one"]}
    assert "state" not in end


@pytest.mark.parametrize("name", ["history.jsonl", "metrics.jsonl"])
def test_a_file_may_seem_to_have_no_end(tmp_path: Path, name: str) -> None:
    (write_run(tmp_path) / name).touch()
    os.truncate(tmp_path / name, 30 * 2**30)
    with pytest.raises(OSError, match="File too large") as caught:
        pages_of(tmp_path)
    assert caught.value.filename == str(tmp_path / name)
