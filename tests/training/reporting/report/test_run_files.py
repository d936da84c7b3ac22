"""What is read of the folder of a run."""

import json
import os
from datetime import datetime
from pathlib import Path

from tests.training.reporting.report.made_up import END, START, record, write_run

from nemotron.training.reporting.report.run_files import RunFiles


def test_a_killed_run_counts_up_to_its_last_record(tmp_path: Path) -> None:
    write_run(tmp_path, history=[START])
    last = datetime.fromisoformat(START["time"]).timestamp() + 90
    os.utime(tmp_path / "metrics.jsonl", (last, last))
    assert RunFiles(tmp_path).count_seconds() == 90
    (tmp_path / "metrics.jsonl").unlink()
    assert RunFiles(tmp_path).count_seconds() == 0


def test_a_run_at_work_counts_up_to_now(tmp_path: Path) -> None:
    write_run(tmp_path, history=[START])
    os.utime(tmp_path / "metrics.jsonl", (0, 0))
    assert RunFiles(tmp_path, is_live=True).count_seconds() > 0


def test_a_sample_is_a_sequence_unless_the_last_record_says_more(tmp_path: Path) -> None:
    assert RunFiles(write_run(tmp_path, [])).sample == "sequence"
    assert RunFiles(write_run(tmp_path, [record(1), record(2, sample_unit="sequence")])).sample == "sequence"
    assert RunFiles(write_run(tmp_path)).sample == "conversation"


def test_the_last_start_counts(tmp_path: Path) -> None:
    run = RunFiles(write_run(tmp_path, history=[START, END, {**START, "train_iters": 8}]))
    assert (len(run.starts), run.train_iters) == (2, 8)
    assert RunFiles(write_run(tmp_path, history=[])).start == {}


def test_checkpoints_are_listed_by_iteration_wherever_they_are(tmp_path: Path) -> None:
    for folder, iterations in (("run/checkpoints", ("9", "0000010", "x")), ("elsewhere", ("3",))):
        for iteration in iterations:
            (tmp_path / folder / f"iter_{iteration}").mkdir(parents=True)
    run = RunFiles(write_run(tmp_path / "run"))
    assert run.checkpoints == [9, 10]
    (tmp_path / "run/run.json").write_text(json.dumps({"checkpoints": str(tmp_path / "elsewhere")}))
    run.update()
    assert run.checkpoints == [3]


def test_settings_are_listed_by_key_without_empty_sections(tmp_path: Path) -> None:
    run = RunFiles(write_run(tmp_path, config="a:\n  b: 1\n  c: [1, 2]\nd: {}\n"))
    assert run.settings == {"a.b": 1, "a.c": [1, 2]}
    (tmp_path / "config.yaml").unlink()
    run.update()
    assert run.settings == {}


def test_each_split_has_its_records(tmp_path: Path) -> None:
    write_run(tmp_path, [record(1)], validation=[{"iteration": 2}])
    (tmp_path / "test.jsonl").write_text('{"iteration": 3}\n')
    run = RunFiles(tmp_path)
    assert [curves.last["iteration"] for curves in (run.metrics, run.validation, run.test)] == [1, 2, 3]
    assert run.finished == 1
