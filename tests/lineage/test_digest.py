import os
from hashlib import sha256
from pathlib import Path

import pytest

from nemotron.lineage.digest import compute_digest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "iter_1").mkdir()
    (tmp_path / "iter_1" / "shard").write_bytes(b"weights")
    return tmp_path


def test_names_and_contents_count(folder):
    before = compute_digest(folder)
    assert before.startswith("sha256:")
    (folder / "iter_1" / "shard").write_bytes(b"Weights")
    changed = compute_digest(folder)
    (folder / "iter_1" / "shard").rename(folder / "iter_1" / "other")
    assert len({before, changed, compute_digest(folder)}) == 3


def test_locks_temporary_files_and_the_manifest_do_not(folder):
    before = compute_digest(folder)
    for name in ("artifact.json", ".lock", ".shard.1234.tmp"):
        (folder / name).write_text("x")
    assert compute_digest(folder) == before


def test_hidden_folders_do_not_count_and_hidden_files_do(folder):
    before = compute_digest(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache/x").write_text("x")
    assert compute_digest(folder) == before
    (folder / "iter_1/.metadata").write_text("x")
    changed = compute_digest(folder)
    (folder / ".lock").write_text("x")
    (folder / "iter_1/x.tmp").write_text("x")  # not hidden: it is the user's
    assert len({before, changed, compute_digest(folder)}) == 3


def test_the_order_in_which_the_file_system_lists_files_does_not_count(folder, monkeypatch):
    (folder / "iter_1/other").touch()
    before, rglob = compute_digest(folder), Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: reversed([*rglob(path, pattern)]))
    assert compute_digest(folder) == before


def test_a_name_may_have_any_bytes(folder):
    before = compute_digest(folder)
    (folder / os.fsdecode(b"a\xff")).touch()
    assert compute_digest(folder) != before


def test_a_file_of_the_limit_is_read_whole(folder, monkeypatch):
    monkeypatch.setattr("nemotron.lineage.digest.WHOLE_BYTES", len(b"weights"))
    assert compute_digest(folder).startswith("sha256:")


def test_of_large_files_the_ends_are_read(folder, monkeypatch):
    monkeypatch.setattr("nemotron.lineage.digest.WHOLE_BYTES", 4)
    before = compute_digest(folder)
    assert before.startswith("sha256-sampled:")
    monkeypatch.setattr("nemotron.lineage.digest._END_BYTES", 2)
    before = compute_digest(folder)
    for changed, counts in ((b"weiGhts", False), (b"Weights", True), (b"wEights", True), (b"weighTs", True),
                            (b"weightS", True), (b"wei-ghts", True)):  # fmt: skip
        (folder / "iter_1" / "shard").write_bytes(changed)
        assert (compute_digest(folder) != before) is counts, changed


def test_the_digest_is_the_same_in_every_release(folder):
    (folder / "a").write_bytes(b"")
    listed = b"".join(
        b"%s\0%d\0%s\n" % (name, len(content), sha256(content).hexdigest().encode())
        for name, content in ((b"a", b""), (b"iter_1/shard", b"weights"))
    )
    assert compute_digest(folder) == f"sha256:{sha256(listed).hexdigest()}"
    alone = b"shard\0007\0" + sha256(b"weights").hexdigest().encode() + b"\n"
    assert compute_digest(folder / "iter_1/shard") == f"sha256:{sha256(alone).hexdigest()}"


def test_a_manifest_of_another_artifact_inside_counts(folder):
    before = compute_digest(folder)
    (folder / "iter_1/artifact.json").write_text("{}")
    assert compute_digest(folder) != before
