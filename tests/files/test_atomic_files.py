"""Files and folders that are complete or absent, with the modes that the user's umask asks for."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nemotron.errors import UserError
from nemotron.files import atomic_files
from nemotron.files.atomic_files import (
    PRIVATE,
    checksum,
    find_changes,
    is_as_written,
    one_at_a_time,
    point_link,
    remove_abandoned,
    remove_unfinished,
    replace_folder_when_complete,
    replace_when_complete,
    write_bytes,
    write_checksums,
    write_json,
    write_text,
)


@pytest.fixture
def umask():
    """Sets the umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_file_is_replaced_only_when_its_writer_succeeds(tmp_path):
    path = tmp_path / "new folder" / "x.txt"
    write_text(path, "old é")

    def fail_halfway():
        with replace_when_complete(path) as temporary:
            temporary.write_text("half")
            assert path.read_text(encoding="utf-8") == "old é"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text(encoding="utf-8") == "old é"
    assert list(path.parent.iterdir()) == [path]


def write_and_die(path):
    with replace_when_complete(path) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_killed_writers_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "report [1].html"
    for _ in range(3):
        if (child := os.fork()) == 0:
            write_and_die(path)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert len(list(tmp_path.iterdir())) == 1  # each removes what the one before left
        assert not path.exists()
    write_text(path, "whole")
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_of_another_writer_is_left(tmp_path):
    path = tmp_path / "x.txt"
    with replace_when_complete(path) as slow:
        slow.write_text("slow")
        write_text(path, "quick")
        assert slow.exists()
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_has_the_mode_that_the_umask_asks_for(tmp_path, umask, mask, expected):
    umask(mask)
    write_json(tmp_path / "x.json", {"a": 1})
    assert mode(tmp_path / "x.json") == expected


def test_a_private_file_is_private_from_the_first_byte(tmp_path, umask):
    umask(0)
    with replace_when_complete(tmp_path / "token", PRIVATE) as temporary:
        assert mode(temporary) == 0o600
    assert mode(tmp_path / "token") == 0o600


def test_a_folder_takes_the_place_of_the_older_one(tmp_path):
    folder = tmp_path / "out"
    for content in ("first", "second"):
        with replace_folder_when_complete(folder) as unfinished:
            (unfinished / content).touch()
    assert [path.name for path in folder.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_fails_leaves_the_older_one(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(ZeroDivisionError), replace_folder_when_complete(folder):
        raise ZeroDivisionError
    assert (folder / "mine").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    """Then the older folder has its temporary name, and nothing has the name that is asked for."""
    (tmp_path / ".out.replaced").mkdir()
    (tmp_path / ".out.replaced" / "mine").touch()
    with pytest.raises(ZeroDivisionError), replace_folder_when_complete(tmp_path / "out"):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "mine").exists()


def test_a_folder_next_to_the_new_one_is_nobody_elses(tmp_path):
    neighbours = [tmp_path / "out.unfinished", tmp_path / "out.replaced", tmp_path / "out.old"]
    for folder in neighbours:
        folder.mkdir()
    with replace_folder_when_complete(tmp_path / "out"):
        pass
    assert all(folder.is_dir() for folder in neighbours)


def test_the_next_waits_until_the_lock_is_free(tmp_path):
    lock, order = tmp_path / "locks" / "x.lock", []

    def second():
        with one_at_a_time(lock):
            order.append("second")

    with one_at_a_time(lock):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.05)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_whoever_waited_for_a_removed_lock_takes_the_one_that_is_there(tmp_path: Path) -> None:
    lock, inside, most = tmp_path / "a.lock", [], []

    def work() -> None:
        with one_at_a_time(lock):
            inside.append(None)
            most.append(len(inside))
            time.sleep(0.005)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert not lock.exists()


@pytest.mark.parametrize(("number", "names"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path, number: int, names: bool) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as caught, replace_when_complete(tmp_path / "report.html"):
        raise OSError(number, os.strerror(number))
    assert caught.value.filename == (str(tmp_path / "report.html") if names else None)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "report.html", "x")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "report.html"), None)
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: point_link(path, path.parent)])
def test_what_cannot_be_written_is_named_and_not_the_temporary_file(tmp_path: Path, write: Callable) -> None:
    path = tmp_path / ("x" * 250)  # a name that leaves no room for the end of a temporary one
    with pytest.raises(OSError, match="name too long") as caught:
        write(path)
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)


def test_a_link_takes_the_place_of_a_link_and_of_nothing_else(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        point_link(tmp_path / "link", tmp_path / name)
        assert (tmp_path / "link").readlink() == Path(name)
    (tmp_path / "other").rmdir()
    point_link(tmp_path / "link", tmp_path / "one")  # one that leads nowhere, too
    with pytest.raises(UserError, match=str(tmp_path / "one")):
        point_link(tmp_path / "one", tmp_path / "link")


def test_only_temporary_files_that_nobody_writes_are_taken_for_abandoned(tmp_path: Path) -> None:
    for name in (".shard.4711.tmp", ".shard.5.tmp", "mine.tmp", ".lock", "shard"):
        (tmp_path / name).touch()
    with (tmp_path / ".shard.5.tmp").open() as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        remove_abandoned(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", ".shard.5.tmp", "mine.tmp", "shard"]


def test_a_link_removes_what_a_killed_process_left_of_it(tmp_path: Path) -> None:
    for name in (".link.4711.tmp", ".link.5.tmp", ".other.4711.tmp"):
        (tmp_path / name).symlink_to("one")
    point_link(tmp_path / "link", tmp_path / "one")
    assert sorted(os.listdir(tmp_path)) == [".other.4711.tmp", "link"]


def test_a_file_is_as_it_was_written_if_its_checksum_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")
    assert not is_as_written(path)
    write_checksums(tmp_path)
    assert is_as_written(path)
    assert list(json.loads((tmp_path / "checksums.json").read_text())) == ["plan.json"]
    path.write_text("[]")
    assert not is_as_written(path)
    path.unlink()
    assert not is_as_written(path)
    path.touch()
    os.truncate(path, 30 * 2**30)  # zeros that are not on the disk
    assert not is_as_written(path)
    path.unlink()
    for damaged in ("{", "[]", "5", "null"):
        path.write_text("{}")
        (tmp_path / "checksums.json").write_text(damaged)
        assert not is_as_written(path)


@pytest.mark.parametrize(("synced", "left"), [(True, []), (False, [".x.dead.tmp"])])
def test_only_what_must_survive_a_power_cut_waits_for_the_disk_and_clears_up(tmp_path, monkeypatch, synced, left):
    (tmp_path / ".x.dead.tmp").touch()
    waited = []
    monkeypatch.setattr(os, "fsync", lambda file: waited.append(os.fstat(file).st_size))
    write_bytes(tmp_path / "x", b"abc", synced=synced)
    assert waited == ([3] if synced else [])
    assert sorted(os.listdir(tmp_path)) == [*left, "x"]
    write_json(tmp_path / "x", [], synced=synced)
    assert len(waited) == (2 if synced else 0)


def test_what_a_killed_writer_left_of_a_folder_is_not_part_of_the_next(tmp_path):
    (tmp_path / "out").mkdir()
    for name in (".out.unfinished", ".out.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "left").touch()
    with replace_folder_when_complete(tmp_path / "out") as unfinished:
        assert os.listdir(tmp_path) != []
        assert list(unfinished.iterdir()) == []
        assert not (tmp_path / ".out.replaced").exists()
    assert os.listdir(tmp_path) == ["out"]
    with replace_folder_when_complete(tmp_path / "new/out"):
        pass
    assert (tmp_path / "new/out").is_dir()


def test_temporary_files_anywhere_below_a_folder_are_removed(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/b/.x.1.tmp", ".y.2.tmp", "a/b/x.tmp", "a/.z"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "a/.z",
        "a/b/x.tmp",
    ]


@dataclass
class Fact:
    count: int
    at: Path


def test_json_has_lines_and_takes_dataclasses_numbers_and_paths(tmp_path):
    write_json(tmp_path / "x.json", {"b": Fact(1, Path("/a")), "a": np.float32(0.5)})
    assert (tmp_path / "x.json").read_text() == ('{\n  "b": {\n    "count": 1,\n    "at": "/a"\n  },\n  "a": 0.5\n}\n')


def test_checksums_are_of_the_files_of_a_folder_alone(tmp_path):
    (tmp_path / "b").write_bytes(b"abc")
    (tmp_path / "a").touch()
    (tmp_path / "inner").mkdir()
    for _ in range(2):  # the second finds the checksums of the first
        write_checksums(tmp_path)
        assert list(json.loads((tmp_path / "checksums.json").read_text())) == ["a", "b"]
    # FIPS 180-2, appendix B.1
    assert checksum(tmp_path / "b") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("record", ["", "[]", "null", '{"b": 5}'])
def test_a_file_with_a_damaged_record_is_not_as_it_was_written(tmp_path, record):
    (tmp_path / "b").write_bytes(b"abc")
    (tmp_path / "checksums.json").write_text(record)
    assert not is_as_written(tmp_path / "b")


def test_each_file_that_is_not_what_its_checksum_says_is_named(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    assert list(find_changes(tmp_path, needed="a")) == []
    (tmp_path / "a").write_text("another")
    (tmp_path / "c").unlink()
    changed, missing = find_changes(tmp_path, needed="a")
    assert changed.startswith(f"{tmp_path / 'a'} does not match")
    assert missing == f"{tmp_path / 'c'} is missing."


@pytest.mark.parametrize("record", [None, "", "[]", '{"b": 5}', "{}"])
def test_a_record_that_cannot_be_used_is_a_change(tmp_path, record):
    (tmp_path / "b").write_bytes(b"abc")
    if record is not None:
        (tmp_path / "checksums.json").write_text(record)
    [change] = find_changes(tmp_path, needed="b")
    assert str(tmp_path / "checksums.json") in change


def test_a_file_may_have_as_many_bytes_as_are_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files, "LARGEST", 3)
    (tmp_path / "b").write_bytes(b"abc")
    (tmp_path / "c").write_bytes(b"abcd")
    write_checksums(tmp_path)
    assert (is_as_written(tmp_path / "b"), is_as_written(tmp_path / "c")) == (True, False)


def test_the_lock_of_one_at_a_time_may_be_in_a_new_folder_and_is_gone_afterwards(tmp_path):
    with contextlib.suppress(ZeroDivisionError), one_at_a_time(tmp_path / "new/folder/lock"):
        assert (tmp_path / "new/folder/lock").is_file()
        raise ZeroDivisionError
    assert list((tmp_path / "new/folder").iterdir()) == []


def test_a_lock_that_its_holder_removed_meanwhile_is_not_held(tmp_path, monkeypatch):
    is_there = [False, True]
    monkeypatch.setattr(atomic_files, "_is_at", lambda lock, descriptor: is_there.pop(0))
    with one_at_a_time(tmp_path / "lock"):
        assert is_there == []


def test_the_error_of_a_writer_is_shown_even_if_its_folder_is_gone(tmp_path):
    def write() -> None:
        with replace_when_complete(tmp_path / "new/file") as temporary:
            temporary.unlink()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
