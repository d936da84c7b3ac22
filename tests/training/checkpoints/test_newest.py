"""Which checkpoint a run continues from, whatever a kill left of the others and of Megatron's trackers."""

import errno
import json
import os
import shutil

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

import nemotron.training.checkpoints.checkpoint
from nemotron.errors import UserError
from nemotron.training.checkpoints.newest import (
    STATE_TRACKER,
    TRACKER,
    _is_completed_since,
    _list_iterations,
    _read_trackers,
    find_checkpoint,
    find_latest,
    find_newest,
    is_iteration_dir,
)
from nemotron.training.checkpoints.repair import clear_names, repair
from nemotron.training.checkpoints.torch_files import read_numbers

SAVE_ORDER = ["__0_0.distcp", ".metadata", "metadata.json", "train_state.pt", STATE_TRACKER, TRACKER, "run_config.yaml"]
"""What Megatron-Bridge writes for a checkpoint, in order."""


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of iterations 2, 4 and 6."""
    for iteration in (2, 4, 6):
        write_checkpoint(tmp_path, iteration)
    return tmp_path


def trackers(checkpoints):
    return read_numbers(checkpoints / STATE_TRACKER)["step"], (checkpoints / TRACKER).read_text()


def make_older(path, seconds=100):
    """Let it have been written before all others."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_the_newest_is_what_both_trackers_name(saved):
    newest = find_newest(saved)
    assert (newest.folder, newest.iteration, newest.skipped) == (saved / "iter_0000006", 6, ())


@pytest.mark.parametrize("content", [None, 0, 0.5])
@pytest.mark.parametrize("killed_in", range(len(SAVE_ORDER)))
def test_a_kill_in_any_write_of_a_save_leaves_the_checkpoint_before(tmp_path, killed_in, content):
    """The file that was being written is absent, empty or half there; those after it are as the last save left them."""
    write_checkpoint(tmp_path, 2)
    before = {name: (tmp_path / name).read_bytes() for name in (STATE_TRACKER, TRACKER)}
    folder = write_checkpoint(tmp_path, 4)
    for position, name in enumerate(SAVE_ORDER[killed_in:]):
        path = (tmp_path if name in before else folder) / name
        whole = path.read_bytes()
        path.unlink()
        if position == 0 and content is not None:
            path.write_bytes(whole[: int(content * len(whole))])
        elif name in before:
            path.write_bytes(before[name])
    has_index = (folder / ".metadata").exists()
    newest = find_newest(tmp_path)
    assert newest.iteration == 2
    assert [skipped.folder.name for skipped in newest.skipped] == ["iter_0000004"]
    repair(tmp_path, newest)
    assert trackers(tmp_path) == (2, "2")
    assert find_newest(tmp_path).skipped == ()
    # Shards alone are of no use, and may be what fills the disk.
    assert (tmp_path / "set_aside_iter_0000004").is_dir() == has_index


@pytest.mark.parametrize("state", [None, b"", b"\0" * 40])
@pytest.mark.parametrize("text", [None, b"", b"\0", b"four", b"4" * 5000])
def test_without_a_readable_tracker_the_newest_whole_checkpoint_counts(saved, state, text):
    for name, content in ((STATE_TRACKER, state), (TRACKER, text)):
        (saved / name).unlink()
        if content is not None:
            (saved / name).write_bytes(content)
    newest = find_newest(saved)
    assert newest.iteration == 6
    repair(saved, newest)
    assert trackers(saved) == (6, "6")


def test_the_tracker_that_megatron_goes_by_is_ours(saved):
    """Megatron-Bridge reads the text only where there is no latest_train_state.pt."""
    (saved / TRACKER).write_text("2")
    assert find_newest(saved).iteration == 6
    (saved / STATE_TRACKER).unlink()
    for folder in saved.glob("iter_*"):
        make_older(folder / "run_config.yaml")
    assert find_newest(saved).iteration == 2


def test_a_checkpoint_that_was_completed_after_the_trackers_counts(saved):
    newer = write_checkpoint(saved, 8, tracked=False)
    assert find_newest(saved).iteration == 8
    # Clocks of file systems are coarse: the two may have the same time.
    written = (saved / STATE_TRACKER).stat().st_mtime_ns
    os.utime(newer / "run_config.yaml", ns=(written, written))
    assert find_newest(saved).iteration == 8


def test_trackers_that_were_set_back_are_followed(saved):
    shutil.copy(saved / "iter_0000002/train_state.pt", saved / STATE_TRACKER)
    for folder in saved.glob("iter_*"):
        make_older(folder / "run_config.yaml")
    newest = find_newest(saved)
    assert newest.iteration == 2
    assert [skipped.iteration for skipped in newest.skipped] == [6, 4]


def test_a_folder_that_is_named_must_not_hide_a_damaged_checkpoint(saved):
    """A save that was killed, and one that the trackers were set back from, are no damage."""
    (saved / "iter_0000006/.metadata").unlink()
    (saved / "iter_0000006/run_config.yaml").unlink()
    assert find_latest(saved).folder == saved / "iter_0000004"
    write_checkpoint(saved, 4)
    for folder in saved.glob("iter_*"):
        make_older(folder / "run_config.yaml") if folder.name < "iter_0000006" else shutil.rmtree(folder)
    write_checkpoint(saved, 6, tracked=False)
    make_older(saved / "iter_0000006/run_config.yaml")
    assert find_latest(saved).folder == saved / "iter_0000004"
    (saved / "iter_0000004/__0_0.distcp").unlink()
    with pytest.raises(UserError, match="iter_0000004") as error:
        find_latest(saved)
    assert str(saved / "iter_0000002") in (error.value.hint or "")


def test_the_release_of_megatron_lm_is_taken_as_it_is(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / TRACKER).write_text("release")
    newest = find_newest(tmp_path)
    assert (newest.folder, newest.iteration, newest.skipped) == (tmp_path / "release", 0, ())


@pytest.mark.parametrize("name", ["run_config.yaml", "train_state.pt", "metadata.json", ".metadata", "other"])
def test_a_folder_is_a_checkpoint_by_any_of_its_files(tmp_path, name):
    (tmp_path / name).touch()
    assert is_iteration_dir(tmp_path) is (name != "other")


def test_a_release_that_is_not_there_is_nothing(tmp_path):
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("release")
    assert find_newest(tmp_path).folder is None
    (tmp_path / "release").mkdir()
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("no iteration")
    assert find_newest(tmp_path).folder is None


def test_a_checkpoint_without_its_config_is_not_held_to_be_older_than_the_trackers(tmp_path):
    (tmp_path / "tracker").touch()
    assert _is_completed_since(tmp_path / "iter_0000001", tmp_path / "tracker") is True


def test_what_is_set_aside_a_second_time_has_another_name(saved):
    for name in ("set_aside_iter_0000006", "set_aside_iter_0000006.2"):
        (saved / "iter_0000006/train_state.pt").unlink()
        repair(saved, find_newest(saved))
        assert (saved / name).is_dir()
        write_checkpoint(saved, 6)


def test_one_iteration_may_be_asked_for(saved):
    assert find_newest(saved, 4).folder == saved / "iter_0000004"
    (saved / "iter_0000004/__0_0.distcp").unlink()
    assert find_newest(saved, 4).folder is None


def test_a_checkpoint_itself_may_be_named(saved):
    assert find_newest(saved / "iter_0000004").iteration == 4


def test_nothing_whole_is_nothing_to_load(tmp_path):
    (write_checkpoint(tmp_path, 2) / "run_config.yaml").unlink()
    newest = find_newest(tmp_path)
    assert newest.folder is None
    repair(tmp_path, newest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set_aside_iter_0000002"]


def test_a_folder_that_does_not_exist_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        find_checkpoint(tmp_path / "nowhere")


def test_the_newest_checkpoint_is_found_from_any_folder_of_a_run(tmp_path):
    newest = write_checkpoint(tmp_path / "run/checkpoints", 20)
    for folder in (tmp_path / "run", tmp_path / "run/checkpoints", newest):
        assert find_checkpoint(folder).folder == newest
    elsewhere = write_checkpoint(tmp_path / "elsewhere", 30)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/run.json").write_text(json.dumps({"checkpoints": str(tmp_path / "elsewhere")}))
    assert find_checkpoint(tmp_path / "other").folder == elsewhere
    own = write_checkpoint(tmp_path / "other", 10)  # a run that saves to its own folder
    assert find_checkpoint(tmp_path / "other").folder == own


def test_what_goes_while_it_is_read_is_gone(saved, monkeypatch):
    def go(folder, index):
        if folder.name == "iter_0000006":
            raise FileNotFoundError(2, "No such file or directory", str(folder / "__0_0.distcp"))

    monkeypatch.setattr(nemotron.training.checkpoints.checkpoint, "find_damaged_shard", go)
    newest = find_newest(saved)
    assert newest.folder == saved / "iter_0000004"
    assert str(newest.skipped[0].why) == "it is gone"


LARGE = 30 * 2**30


def make_other(path, kind):
    """Put something else in the place of a file or a folder; what was there is next to it."""
    if path.exists():
        path.rename(path.with_name(f"was_{path.name}"))
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "file":
            path.write_text("5")
        case "folder":
            path.mkdir()
        case "link to nothing":
            path.symlink_to("nothing")
        case "link to itself":
            path.symlink_to(path)
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "large file":
            path.touch()
            os.truncate(path, LARGE)


@pytest.mark.parametrize("kind", ["fifo", "file", "link to nothing", "link to itself", "link to a device"])
@pytest.mark.parametrize("iteration", [4, 6, 8])
def test_what_has_the_name_of_a_checkpoint_and_is_none_is_set_aside(saved, iteration, kind):
    """A save goes to that name one day. A FIFO that is removed as a folder waits for another process, for good."""
    make_other(saved / f"iter_{iteration:07d}", kind)
    newest = find_newest(saved)
    assert newest.iteration == (4 if iteration == 6 else 6)
    clear_names(saved)
    repair(saved, newest)
    found = find_newest(saved)
    assert (found.iteration, found.skipped) == (newest.iteration, ())
    assert all(path.is_dir() for path in saved.glob("iter_*"))
    assert os.path.lexists(saved / f"set_aside_iter_{iteration:07d}")


def test_a_link_to_a_checkpoint_is_set_aside_without_what_it_leads_to(saved, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk") / "iter"
    (saved / "iter_0000006").rename(elsewhere)
    for name in (".metadata", "train_state.pt", "run_config.yaml"):  # its save was cut short
        (elsewhere / name).unlink()
    (saved / "iter_0000006").symlink_to(elsewhere)
    repair(saved, find_newest(saved))
    assert (saved / "set_aside_iter_0000006" / "__0_0.distcp").is_file()


@pytest.mark.parametrize("kind", ["fifo", "folder", "link to nothing", "link to a device", "large file"])
@pytest.mark.parametrize("name", [STATE_TRACKER, TRACKER])
def test_something_else_may_be_in_a_trackers_place(saved, name, kind):
    make_other(saved / name, kind)
    newest = find_newest(saved)
    assert newest.iteration == 6
    clear_names(saved)
    repair(saved, newest)
    assert trackers(saved) == (6, "6")


@pytest.mark.parametrize("name", [".metadata", "metadata.json", "run_config.yaml", "train_state.pt"])
def test_a_file_of_a_checkpoint_may_seem_larger_than_the_memory(saved, name):
    make_other(saved / "iter_0000006" / name, "large file")
    newest = find_newest(saved)
    assert newest.iteration == 4
    assert newest.skipped[0].why.file == name


def test_a_train_state_of_another_iteration_is_not_used(saved):
    """Megatron would go on from the iteration that it names, with the weights of this one."""
    shutil.copy(saved / "iter_0000004/train_state.pt", saved / "iter_0000006")
    newest = find_newest(saved)
    assert newest.iteration == 4
    assert str(newest.skipped[0].why) == "train_state.pt is of iteration 4"


def test_torch_files_with_something_before_their_beginning_are_damaged(saved):
    """zipfile would skip it; torch takes the file for another format."""
    state = saved / "iter_0000006" / "train_state.pt"
    state.write_bytes(b"\xef\xbb\xbf" + state.read_bytes())
    assert [str(skipped.why) for skipped in find_newest(saved).skipped] == [
        "train_state.pt has other bytes at its beginning (its save was cut short)"
    ]


def test_a_checkpoint_that_may_not_be_read_names_the_newest_one_that_may(saved, monkeypatch):
    """As root in these tests may read everything, the system's answer is a stand-in."""
    open_any = nemotron.training.checkpoints.checkpoint.read_bytes

    def refuse_two(path):
        if path.parent.name in ("iter_0000006", "iter_0000004"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_any(path)

    monkeypatch.setattr(nemotron.training.checkpoints.checkpoint, "read_bytes", refuse_two)
    with pytest.raises(UserError) as error:
        find_newest(saved)
    assert error.value.message.startswith(f"{saved / 'iter_0000006'}/")
    assert f"{saved / 'iter_0000002'} is complete" in str(error.value.hint)


def test_a_damaged_checkpoint_that_is_named_itself_is_refused(saved):
    (saved / "iter_0000004/__0_0.distcp").write_bytes(b"")
    with pytest.raises(UserError, match=r"__0_0\.distcp"):
        find_latest(saved / "iter_0000004")
    (saved / "iter_0000004/.metadata").unlink()  # in a form that we do not know, and do not judge
    unknown = find_latest(saved / "iter_0000004")
    assert unknown.folder == saved / "iter_0000004"
    assert unknown.saved  # its settings are read all the same


def test_a_checkpoint_that_was_passed_over_is_one_of_those_found(saved):
    (saved / "iter_0000006" / "train_state.pt").write_bytes(b"")
    newest = find_newest(saved)
    assert newest.folder == saved / "iter_0000004"
    included = [newest.includes(saved / f"iter_000000{iteration}") for iteration in (2, 4, 6)]
    assert (included, newest.includes(saved)) == ([False, True, True], False)


def test_checkpoints_are_listed_from_the_newest_and_one_alone_by_what_it_says(saved, tmp_path_factory):
    (saved / "iter_0000010").touch()  # no folder
    folders = [saved / f"iter_000000{iteration}" for iteration in (6, 4, 2)]
    assert [*_list_iterations(saved).items()] == [*zip((6, 4, 2), folders, strict=True)]
    assert _list_iterations(folders[1]) == {4: folders[1]}
    renamed = tmp_path_factory.mktemp("elsewhere") / "mine"
    shutil.copytree(folders[1], renamed)
    assert _list_iterations(renamed) == {4: renamed}
    (renamed / "train_state.pt").unlink()
    assert _list_iterations(renamed) == {0: renamed}
    (saved / "file").touch()
    assert _list_iterations(saved / "file") == _list_iterations(saved / "none") == {}


def test_a_tracker_that_is_no_number_is_none(saved):
    (saved / STATE_TRACKER).unlink()
    for content in (b"many", b"\xff", b"-4", b""):
        (saved / TRACKER).write_bytes(content)
        assert _read_trackers(saved) == (None, 0)
    (saved / TRACKER).write_text("4")
    assert _read_trackers(saved) == (saved / TRACKER, 4)
    (saved / STATE_TRACKER).write_bytes(b"damaged")
    assert _read_trackers(saved) == (None, 0)
