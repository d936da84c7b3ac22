"""Files of a checkpoint are those that were saved: not of another iteration, and without a changed byte."""

import io
import json
import shutil

import pytest
from tests.training.checkpoints.made_up import PARTS, write_checkpoint

from nemotron.errors import UserError
from nemotron.training.checkpoints import fingerprints
from nemotron.training.checkpoints.checkpoint import read_checkpoint
from nemotron.training.checkpoints.fingerprints import find_changed_file, fingerprint_saves, write_fingerprints
from nemotron.training.checkpoints.newest import find_latest, find_newest
from nemotron.training.checkpoints.torch_files import read_stored_parts

SHARD = "__0_0.distcp"


def write_parts(folder, *values):
    """Replace the parts of a checkpoint by tensors of these values, which take as many bytes."""
    import torch

    parts = []
    for value in values:
        torch.save(torch.full((8,), float(value)), part := io.BytesIO())
        parts.append(part.getvalue())
    (folder / SHARD).write_bytes(b"".join(parts))


@pytest.fixture(params=["whole", "ends of parts"])
def saved(request, tmp_path, monkeypatch):
    """A folder with checkpoints of iterations 2 and 4, small enough to be read whole, or too large for that."""
    if request.param != "whole":
        monkeypatch.setattr(fingerprints, "LARGEST_READ_WHOLE", 0)
    for iteration in (2, 4):
        write_parts(write_checkpoint(tmp_path, iteration), *[iteration] * PARTS)
        write_fingerprints(tmp_path / f"iter_{iteration:07d}")
    return tmp_path


def test_a_shard_of_another_iteration_is_skipped_with_its_name(saved):
    assert find_newest(saved).iteration == 4
    shutil.copy(saved / "iter_0000002" / SHARD, saved / "iter_0000004" / SHARD)
    newest = find_newest(saved)
    assert newest.iteration == 2
    assert str(newest.skipped[0].why) == f"{SHARD} holds other bytes than were saved"


def test_a_shard_that_is_longer_than_it_was_saved_is_another(saved):
    with (saved / "iter_0000004" / SHARD).open("ab") as file:
        file.write(b"x")
    assert str(read_checkpoint(saved / "iter_0000004").damage) == f"{SHARD} holds other bytes than were saved"


def test_an_export_names_the_older_checkpoint_instead(saved):
    shutil.copy(saved / "iter_0000002" / SHARD, saved / "iter_0000004" / SHARD)
    with pytest.raises(UserError, match=SHARD) as error:
        find_latest(saved)
    assert str(saved / "iter_0000002") in str(error.value.hint)


@pytest.mark.parametrize("name", [SHARD, ".metadata", "metadata.json", "train_state.pt", "common.pt"])
def test_every_file_that_is_loaded_is_compared(saved, name):
    folder = saved / "iter_0000004"
    shutil.copy(folder / "train_state.pt", folder / "common.pt")
    write_fingerprints(folder)
    assert read_checkpoint(folder).damage is None
    record = json.loads((folder / "fingerprints.json").read_text())
    record["files"][name]["checksum"] = "another"
    (folder / "fingerprints.json").write_text(json.dumps(record))
    damage = read_checkpoint(folder).damage
    assert damage is not None
    assert damage.file == name


def test_a_small_file_that_was_saved_and_is_gone_is_named(saved):
    folder = saved / "iter_0000004"
    shutil.copy(folder / "train_state.pt", folder / "common.pt")
    write_fingerprints(folder)
    (folder / "common.pt").unlink()
    assert str(read_checkpoint(folder).damage) == "common.pt is missing"


def test_a_changed_byte_of_a_small_checkpoint_is_found_before_it_is_loaded(tmp_path):
    folder = write_checkpoint(tmp_path, 2)
    write_fingerprints(folder)
    content = bytearray((folder / SHARD).read_bytes())
    content[content.index(bytes(32)) + 3] ^= 0x40
    (folder / SHARD).write_bytes(content)
    assert str(read_checkpoint(folder).damage) == f"{SHARD} holds other bytes than were saved"


def test_of_a_large_shard_the_first_part_and_the_last_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "LARGEST_READ_WHOLE", 0)
    folder = write_checkpoint(tmp_path, 2)
    write_parts(folder, 1, 2, 3)
    write_fingerprints(folder)
    noticed = []
    for values in ([0, 2, 3], [1, 0, 3], [1, 2, 0]):
        write_parts(folder, *values)
        noticed.append(read_checkpoint(folder).damage is not None)
    assert noticed == [True, False, True]


def test_of_a_large_part_the_end_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "LARGEST_READ_WHOLE", 0)
    monkeypatch.setattr(fingerprints, "_END", 30)
    folder = write_checkpoint(tmp_path, 2)
    write_fingerprints(folder)
    shards = read_stored_parts((folder / ".metadata").read_bytes())
    saved = (folder / SHARD).read_bytes()
    for place, is_noticed in ((-31, False), (-30, True), (-1, True)):
        changed = bytearray(saved)
        changed[place] ^= 1
        (folder / SHARD).write_bytes(changed)
        assert (find_changed_file(folder, shards) is not None) is is_noticed


def test_a_checkpoint_that_is_removed_meanwhile_is_gone_and_not_damaged(saved, monkeypatch):
    folder = saved / "iter_0000004"

    def read_last(path):
        content = path.read_bytes()
        shutil.rmtree(folder)
        return content

    monkeypatch.setattr(fingerprints, "read_bytes", read_last)
    with pytest.raises(FileNotFoundError):
        find_changed_file(folder, {})


def test_a_checkpoint_that_was_saved_without_a_record_is_loaded(saved):
    (saved / "iter_0000004/fingerprints.json").unlink()
    assert find_newest(saved).iteration == 4


@pytest.mark.parametrize("record", [None, b"", b"[]", b'{"files": {}}', b'{"whole": true, "files": 1}', b"[" * 100_000])
def test_a_damaged_record_is_named_because_it_hides_other_damage(saved, record):
    file = saved / "iter_0000004/fingerprints.json"
    file.unlink()
    file.mkdir() if record is None else file.write_bytes(record)
    newest = find_newest(saved)
    assert newest.iteration == 2
    assert str(newest.skipped[0].why).startswith("fingerprints.json is not readable")


def test_megatron_bridge_writes_them_before_the_last_file(tmp_path):
    class Config:
        def to_yaml(self, yaml_path=None):
            if yaml_path is None:  # it is to be printed
                return "the text"
            assert (yaml_path.parent / "fingerprints.json").exists()
            return yaml_path.write_text("after the fingerprints")

    fingerprint_saves(Config)
    fingerprint_saves(Config)
    folder = write_checkpoint(tmp_path, 2)
    Config().to_yaml(folder / "run_config.yaml")
    assert (folder / "run_config.yaml").read_text() == "after the fingerprints"
    assert Config().to_yaml() == "the text"
    assert not hasattr(Config.to_yaml.__wrapped__, "__wrapped__")


def test_nothing_is_recorded_of_a_folder_whose_files_are_not_all_visible(tmp_path):
    folder = write_checkpoint(tmp_path, 2)
    (folder / SHARD).unlink()
    write_fingerprints(folder)
    write_fingerprints(tmp_path)
    assert not list(tmp_path.rglob("fingerprints.json"))
