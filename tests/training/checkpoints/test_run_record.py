"""What a run recorded of itself, as it may lie on the disk."""

import json
from pathlib import Path

import pytest

from nemotron.training.checkpoints.run_record import (
    count_unreadable,
    find_gaps,
    find_saving_run,
    read_json,
    read_records,
)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "5", "[" * 100_000])
def test_a_record_that_cannot_be_read_is_empty(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert read_json(tmp_path / "run.json") == {}


def test_what_should_be_a_path_and_is_none_is_left_out(tmp_path: Path):
    written = {"output_dir": 5, "checkpoints": "/a\0b", "hf_model": "tiny", "adapters": {"dim": 8}}
    (tmp_path / "run.json").write_text(json.dumps(written))
    assert read_json(tmp_path / "run.json") == {"hf_model": "tiny", "adapters": {"dim": 8}}


def test_a_line_is_a_record_if_it_says_of_which_iteration(tmp_path: Path):
    lines = ['{"iteration": 1, "lr": 2}', "5", '{"lr": 1}', '{"iteration": "2"}', "\0\0", '{"iteration": 3}']
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"iteration": 4']))
    assert read_records(tmp_path / "metrics.jsonl") == [{"iteration": 1, "lr": 2}, {"iteration": 3}]
    assert count_unreadable(tmp_path / "metrics.jsonl") == 4
    assert count_unreadable(tmp_path / "none.jsonl") == 0
    (tmp_path / "metrics.jsonl").write_bytes(b'{"iteration": 1}\n\xff\n')
    assert read_records(tmp_path / "metrics.jsonl") == [{"iteration": 1}]
    assert count_unreadable(tmp_path / "metrics.jsonl") == 1


def test_the_run_of_a_checkpoint_is_the_folder_around_it_or_what_its_record_names(tmp_path: Path):
    checkpoints, output = tmp_path / "saved", tmp_path / "output"
    iteration = checkpoints / "iter_0000001"
    iteration.mkdir(parents=True)
    assert find_saving_run(iteration) == (None, {})
    (checkpoints / "run.json").write_text(json.dumps({"output_dir": str(output), "hf_model": "copy"}))
    assert find_saving_run(iteration).folder is None  # it was moved
    output.mkdir()
    assert find_saving_run(iteration).folder == output
    (tmp_path / "run.json").write_text(json.dumps({"hf_model": "own"}))
    assert find_saving_run(iteration).folder == tmp_path
    assert find_saving_run(iteration).hf_model == "copy"
    (checkpoints / "run.json").unlink()
    assert find_saving_run(iteration) == (tmp_path, {"hf_model": "own"})


@pytest.mark.parametrize(
    ("logged", "finished", "interval", "gaps"),
    [
        ([1, 2, 3, 4], 4, 1, []),
        ([1, 4, 5], 5, 1, [(2, 3)]),
        ([3, 4, 6], 8, 1, [(1, 2), (5, 5), (7, 8)]),
        ([1, 2, 3, 9], 2, 1, []),  # written after the checkpoint
        ([10, 20], 25, 10, []),
        ([10, 20, 25, 30], 30, 10, []),  # the last of an earlier session is always logged
        ([10, 25], 30, 10, [(11, 24), (26, 30)]),
        ([10, 20, 30, 35, 36, 37], 37, 1, []),  # log_interval was 10, and is 1
        ([*range(1, 11), 20, 30, 31], 31, 1, []),  # it was 1, 10, and is 1
        ([10, 20, 30, 31, 36, 37], 37, 1, [(32, 35)]),
        ([1, 2, 5, 8, 9], 9, 1, [(3, 4), (6, 7)]),  # no log_interval gives 2, 5, 8
    ],
)
def test_iterations_without_a_record_are_gaps(logged, finished, interval, gaps):
    assert find_gaps([{"iteration": iteration} for iteration in logged], finished, interval) == gaps
