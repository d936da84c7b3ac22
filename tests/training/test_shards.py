"""A run trains on what data prep wrote, or stops with the name of the shard that is something else."""

import json
import os
from pathlib import Path

import pytest
from tests.stand_ins import put_modules

from nemotron.errors import UserError
from nemotron.files.atomic_files import checksum
from nemotron.training import shards
from nemotron.training.prepared_data import PreparedData
from nemotron.training.shards import ShardCheck, begin_check, find_recorded_shards


@pytest.fixture
def data(tmp_path):
    """Two shards, as data prep leaves them: with their sizes and checksums in the metadata.json of the run."""
    folder = tmp_path / "splits/train"
    folder.mkdir(parents=True)
    shards = []
    for number in range(2):
        path = folder / f"shard_{number:06d}.parquet"
        path.write_bytes(os.urandom(1000))
        shards.append({"file": path.name, "bytes": 1000, "checksum": checksum(path)})
    (tmp_path / "metadata.json").write_text(json.dumps({"splits": [{"name": "train", "shards": shards}]}))
    return PreparedData("SFTDataArtifact-sft:v1", tmp_path / "splits", {"train": 8})


def begin(data):
    check = ShardCheck(find_recorded_shards(data))
    check.finish()
    return check


def test_what_data_prep_wrote_is_accepted(data):
    check = begin(data)
    for _ in range(3):
        check.look_again()


@pytest.mark.parametrize(
    ("damage", "said"),
    [(lambda old: old[:500], "500 bytes"), (lambda old: old[:500] + bytes([old[500] ^ 1]) + old[501:], "checksum")],
)
def test_a_damaged_shard_stops_a_run_before_it_trains(data, damage, said):
    shard = data.splits / "train/shard_000001.parquet"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(UserError, match=str(shard)) as error:
        begin(data)
    assert said in error.value.message


def test_a_missing_shard_is_named(data):
    shard = data.splits / "train/shard_000001.parquet"
    shard.unlink()
    with pytest.raises(UserError, match=str(shard)):
        begin(data)


def written_over(shard):
    before = shard.stat().st_mtime_ns
    shard.write_bytes(os.urandom(1000))
    os.utime(shard, ns=(before + 1, before + 1))  # the clock of the file system may be coarse


def put_in_its_place(shard):
    before = shard.stat()
    other = shard.with_name("other")
    other.write_bytes(os.urandom(1000))
    os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))  # as cp -p and rsync leave it
    other.replace(shard)


def longer_with_its_old_time(shard):
    before = shard.stat().st_mtime_ns
    shard.write_bytes(shard.read_bytes() + b"more")
    os.utime(shard, ns=(before, before))


@pytest.mark.parametrize("change", [Path.unlink, longer_with_its_old_time, written_over, put_in_its_place])
def test_a_shard_that_changes_under_a_run_is_named(data, change):
    check = begin(data)
    shard = data.splits / "train/shard_000001.parquet"
    change(shard)
    with pytest.raises(UserError, match=str(shard)):
        check.look_again()


def test_a_step_looks_at_so_many_shards_and_the_next_at_the_next(data, monkeypatch):
    check, seen = begin(data), []
    first, second = (str(data.splits / f"train/shard_{number:06d}.parquet") for number in range(2))
    mark = shards._mark
    monkeypatch.setattr(shards, "_mark", lambda path: seen.append(str(path)) or mark(path))
    for at_once, expected in ((1, [first, second, first]), (5, [second, first] * 3)):
        monkeypatch.setattr(shards, "_LOOKED_AT_PER_STEP", at_once)
        seen.clear()
        for _ in range(3):
            check.look_again()
        assert seen == expected


def test_data_made_elsewhere_has_nothing_to_compare_with(data):
    (data.splits.parent / "metadata.json").unlink()
    assert find_recorded_shards(data) == []


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"splits": null}', '{"splits": [{"name": "train", "shards": [{"file": "a"}]}]}']
)
def test_what_data_prep_did_not_write_is_nothing_to_compare_with(data, content):
    (data.splits.parent / "metadata.json").write_text(content)
    assert find_recorded_shards(data) == []


def test_a_check_begins_where_there_is_something_to_compare_with(data):
    check = begin_check(data)
    assert check is not None
    assert check._reader.daemon  # a run that ends early does not wait for it
    check.finish()
    (data.splits.parent / "metadata.json").unlink()
    assert begin_check(data) is None


def test_shards_are_checked_before_the_first_step_and_a_few_with_every_step(data, monkeypatch):
    callback = {"Callback": object, "CallbackContext": object}
    put_modules(monkeypatch, {"megatron.bridge.training.callbacks": callback})
    check, calls = begin(data), []
    monkeypatch.setattr(check, "finish", lambda: calls.append("whole"))
    monkeypatch.setattr(check, "look_again", lambda: calls.append("few"))
    checks = check.callback()
    checks.on_train_start(None)
    for _ in range(2):
        checks.on_train_step_start(None)
    assert calls == ["whole", "few", "few"]
