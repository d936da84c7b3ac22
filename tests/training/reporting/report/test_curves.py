"""Columns of a file of records that grows."""

import json
from pathlib import Path

import numpy as np

from nemotron.training.reporting.report.curves import Curves


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(lines))


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curves = Curves(path)
    curves.update()
    assert len(curves) == 0
    append(path, '{"iteration": 1, "loss": 4.0}\n', '{"iteration": 2, "lo')
    curves.update()
    assert list(curves.column("iteration")) == [1]
    append(path, 'ss": 3.0, "more": 7}\n')
    curves.update()
    assert list(curves.column("loss")) == [4, 3]
    assert np.isnan(curves.column("more")[0])
    assert (curves.first["loss"], curves.last["more"]) == (4.0, 7)


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    """A resumed run drops the records that it repeats."""
    path = tmp_path / "metrics.jsonl"
    append(path, *(f'{{"iteration": {at}}}\n' for at in range(1, 6)))
    curves = Curves(path)
    curves.update()
    (tmp_path / "new").write_text("".join(f'{{"iteration": {at}}}\n' for at in range(1, 4)))
    (tmp_path / "new").rename(path)
    curves.update()
    assert list(curves.column("iteration")) == [1, 2, 3]
    path.write_text('{"iteration": 1}\n')  # in place
    curves.update()
    assert list(curves.column("iteration")) == [1]


def test_a_value_that_is_null_or_absent_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [
        {"iteration": 1, "loss": 1.0},
        {"iteration": 2, "loss": None},
        {"iteration": 3},
        {"iteration": 4, "loss": 2},
    ]
    append(path, *(json.dumps(row) + "\n" for row in rows))
    curves = Curves(path)
    curves.update()
    np.testing.assert_equal(curves.column("loss"), [1, np.nan, np.nan, 2])
    np.testing.assert_equal(curves.column("never"), [np.nan] * 4)


def test_lines_that_are_no_records_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'\0\0\0\n[1]\n{"iteration": "x"}\n\xff\n{"iteration": 5, "loss_stage": "sample"}\n')
    curves = Curves(path)
    curves.update()
    assert list(curves.column("iteration")) == [5]
    assert curves.stages == [(5, "sample")]
