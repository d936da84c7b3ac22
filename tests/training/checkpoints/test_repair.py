"""Trackers are made to name what a run resumes from, and are left alone where they already do."""

from pathlib import Path

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.newest import STATE_TRACKER, TRACKER, Newest, find_newest
from nemotron.training.checkpoints.repair import clear_names, repair


def of_elsewhere(folder: Path) -> Checkpoint:
    folder.mkdir(parents=True, exist_ok=True)
    return Checkpoint(folder)


def test_a_tracker_that_is_right_is_not_written_again(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 4)
    before = [(tmp_path / name).stat().st_ino for name in (STATE_TRACKER, TRACKER)]
    repair(tmp_path, find_newest(tmp_path))
    assert [(tmp_path / name).stat().st_ino for name in (STATE_TRACKER, TRACKER)] == before


def test_a_tracker_as_long_as_it_should_be_may_still_be_of_another_iteration(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 4)
    newest, content = find_newest(tmp_path), (folder / "train_state.pt").read_bytes()
    (tmp_path / STATE_TRACKER).write_bytes(bytes(len(content)))
    (tmp_path / TRACKER).write_text("2")
    repair(tmp_path, newest)
    assert (tmp_path / STATE_TRACKER).read_bytes() == content
    assert (tmp_path / TRACKER).read_text() == "4"


@pytest.mark.parametrize("is_there", [True, False])
def test_without_a_checkpoint_no_tracker_is_left(tmp_path: Path, is_there: bool) -> None:
    for name in (STATE_TRACKER, TRACKER) if is_there else ():
        (tmp_path / name).write_text("4")
    repair(tmp_path, Newest(None, 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_checkpoint_of_megatron_lm_has_no_state_to_track(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / STATE_TRACKER).write_bytes(b"of another run")
    repair(tmp_path, Newest(of_elsewhere(tmp_path / "iter_0000004"), 4))
    assert not (tmp_path / STATE_TRACKER).exists()
    assert (tmp_path / TRACKER).read_text() == "4"


def test_the_tracker_of_a_release_keeps_its_word(tmp_path: Path) -> None:
    (tmp_path / TRACKER).write_text("release")
    (tmp_path / STATE_TRACKER).write_bytes(b"as it is")
    repair(tmp_path, Newest(of_elsewhere(tmp_path / "release"), 0))
    assert (tmp_path / TRACKER).read_text() == "release"
    assert (tmp_path / STATE_TRACKER).read_bytes() == b"as it is"


def test_what_a_save_can_replace_keeps_its_name(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 4)
    before = sorted(tmp_path.rglob("*"))
    clear_names(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
