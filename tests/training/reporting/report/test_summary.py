"""The facts at the top of report.html, each as a reader sees it."""

from pathlib import Path

import pytest
from tests.training.reporting.report.made_up import END, START, record, write_run

from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.report.summary import STATES, count_seen, find_data_report, summarize


def facts(folder: Path, *, is_live: bool = False, **written: object) -> dict[str, object]:
    return dict(summarize(RunFiles(write_run(folder, **written), is_live=is_live), folder))


def test_a_finished_run_in_a_line_for_each_fact(tmp_path: Path) -> None:
    config = "recipe:\n  hf_model: tiny\npeft:\n  scheme: lora\nrun:\n  data: ours:latest\n"
    assert facts(tmp_path, config=config) == {
        "state": "finished",
        "iterations": "4 of 4",
        "data": "ours:latest",
        "model": "tiny",
        "trained": "lora adapters",
        "packs seen": "32 of 1,000 tokens: 32,000 positions",
        "supervised tokens seen": "400",
        "conversations seen": "40",
        "duration": "1 h 00 min",
        "median iteration": "2 s",
        "tokens/s": "4,000 (positions of packs)",
        "device": "CPU",
    }


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    assert facts(tmp_path, records=[], history=[], config="") == {"iterations": "0", "trained": "all weights"}
    old = facts(tmp_path, history=[])  # of a release that recorded no start
    assert (old["iterations"], old["packs seen"]) == ("4", "32")
    assert "tokens/s" not in old


def test_the_data_is_that_of_the_start_with_its_packs(tmp_path: Path) -> None:
    data = {"reference": "ours:v3", "packs": {"train": 7000, "valid": 2}}
    found = facts(tmp_path, history=[{**START, "data": data}], config="run:\n  data: ours:latest\n")
    assert found["data"] == "ours:v3, packs: train 7,000, valid 2"


@pytest.mark.parametrize(("levels", "is_found"), [(0, True), (2, True), (3, False)])
def test_the_report_of_the_data_is_at_most_three_folders_above_its_splits(
    tmp_path: Path, levels: int, is_found: bool
) -> None:
    """output_dir/splits, or output_dir/runs/HASH/splits with a link to the newest."""
    splits = tmp_path.joinpath(*["x"] * levels, "splits")
    splits.mkdir(parents=True)
    if levels:
        (tmp_path / "splits").symlink_to(splits)
    (tmp_path / "report.html").touch()
    assert find_data_report(splits) == (tmp_path / "report.html" if is_found else None)
    (tmp_path / "report.html").unlink()
    assert find_data_report(splits) is None


def test_memory_and_skipped_batches_are_those_of_the_last_record(tmp_path: Path) -> None:
    found = facts(tmp_path, records=[record(1), record(2, peak_memory_gb=3.25, skipped_batches=1)])
    assert found["memory"] == "3.2 GB at most, on the GPU of the last rank"
    assert found["skipped batches"] == "1: nothing in them was supervised"


def test_what_is_left_is_said_of_a_run_at_work(tmp_path: Path) -> None:
    """Six of ten iterations of 2 s each."""
    start = {**START, "train_iters": 10}
    assert facts(tmp_path, is_live=True, history=[start])["left"] == "about 12 s, evaluations not counted"
    assert "left" not in facts(tmp_path, history=[start])
    assert "left" not in facts(tmp_path, is_live=True, history=[START])  # all four are done


def test_several_starts_are_counted(tmp_path: Path) -> None:
    again = [{**START, "time": "2026-01-01T05:00:00+00:00"}, {**END, "time": "2026-01-01T05:30:00+00:00"}]
    assert facts(tmp_path, history=[START, END, *again])["duration"] == "1 h 30 min, in 2 starts"


@pytest.mark.parametrize(
    ("history", "state"),
    [
        ([START, END], "finished"),
        ([START, {**END, "state": "stopped"}], "stopped"),
        ([START, {**END, "state": "failed"}], "failed"),
        ([START], "killed"),
    ],
)
def test_each_state_has_its_words(tmp_path: Path, history: list, state: str) -> None:
    assert facts(tmp_path, history=history)["state"] == STATES[state]
    assert len(set(STATES.values())) == len(STATES)


@pytest.mark.parametrize(
    ("records", "total"),
    [
        ([], (0, False)),
        ([record(1), record(2)], (200, False)),
        ([record(1), record(2, supervised_tokens=None)], (200, True)),  # 100 in each
        ([record(10), record(20, supervised_tokens=300)], (4000, True)),  # 200 on average
        ([record(1, supervised_tokens=None)], (0, False)),
    ],
)
def test_iterations_without_a_count_are_taken_as_the_mean_of_the_others(
    tmp_path: Path, records: list, total: tuple[float, bool]
) -> None:
    assert count_seen(RunFiles(write_run(tmp_path, records)).metrics, "supervised_tokens") == total
