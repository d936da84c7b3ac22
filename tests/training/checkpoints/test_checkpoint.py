"""A checkpoint counts only when it is whole: every file that a save writes, as long as it was written."""

import errno
import io
import os
import pickle
import zipfile
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.checkpoints.made_up import write_checkpoint
from torch.distributed.checkpoint.metadata import MetadataIndex

from nemotron.training.checkpoints import checkpoint
from nemotron.training.checkpoints.checkpoint import Checkpoint, read_checkpoint
from nemotron.training.checkpoints.torch_files import check_archive, count_model_bytes, mentions, read_numbers

FILES = ["__0_0.distcp", ".metadata", "metadata.json", "train_state.pt", "run_config.yaml"]


def damage_of(folder) -> Any:
    return read_checkpoint(folder).damage


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_nuls(path):
    path.write_bytes(bytes(path.stat().st_size))


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def test_a_whole_checkpoint_has_no_damage(tmp_path):
    assert damage_of(write_checkpoint(tmp_path, 20)) is None


@pytest.mark.parametrize("damaged_by", [halve, fill_with_nuls, empty, remove])
@pytest.mark.parametrize("name", FILES)
def test_the_damaged_file_is_named(tmp_path, name, damaged_by):
    folder = write_checkpoint(tmp_path, 20)
    damaged_by(folder / name)
    damage = damage_of(folder)
    assert damage is not None
    assert damage.file == name


@pytest.mark.parametrize("name", FILES)
def test_what_is_in_place_of_a_file_is_not_waited_for(tmp_path, name):
    folder = write_checkpoint(tmp_path, 20)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert (damage_of(folder).file, damage_of(folder).what) == (name, "is missing")


@pytest.mark.parametrize("name", ["train_state.pt", "run_config.yaml"])
def test_without_what_is_written_last_a_save_was_cut_short(tmp_path, name):
    folder = write_checkpoint(tmp_path, 20)
    (folder / name).unlink()
    assert damage_of(folder).unfinished
    assert str(damage_of(folder)) == f"{name} is missing (its save was cut short)"


def test_without_a_shard_it_was_not_the_save(tmp_path):
    folder = write_checkpoint(tmp_path, 20)
    (folder / "__0_0.distcp").unlink()
    assert str(damage_of(folder)) == "__0_0.distcp is missing"


@pytest.mark.parametrize(
    ("name", "cut_short"),
    [("common.pt", False), ("__0_0.distcp", False), (".metadata", False), ("metadata.json", True),
     ("train_state.pt", True), ("run_config.yaml", True)],
)  # fmt: skip
def test_only_half_a_file_that_torch_does_not_sync_speaks_of_a_save_that_was_cut_short(tmp_path, name, cut_short):
    folder = write_checkpoint(tmp_path, 20)
    torch.save({"args": None}, folder / "common.pt")
    halve(folder / name)
    assert (damage_of(folder).file, damage_of(folder).unfinished) == (name, cut_short)


@pytest.mark.parametrize("name", ["iter_0000020", "release"])
def test_a_checkpoint_that_was_moved_away_meanwhile_is_gone(tmp_path, name):
    assert str(damage_of(tmp_path / name)) == "it is gone"


@settings(max_examples=25)
@given(cut=st.integers(1, 400))
def test_a_cut_anywhere_in_a_shard_is_seen(tmp_path_factory, cut):
    folder = write_checkpoint(tmp_path_factory.mktemp("cut"), 20)
    shard = folder / "__0_0.distcp"
    shard.write_bytes(shard.read_bytes()[:-cut])
    assert damage_of(folder).file == "__0_0.distcp"


def test_a_shard_of_its_full_length_whose_end_was_never_written_is_damaged(tmp_path):
    """A file system may make room for a file before it has the bytes."""
    folder = write_checkpoint(tmp_path, 20)
    shard = folder / "__0_0.distcp"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100] + bytes(100))
    assert damage_of(folder).file == "__0_0.distcp"


def test_a_shard_that_begins_with_other_bytes_is_damaged_in_whatever_order_its_parts_are_listed(tmp_path):
    folder = write_checkpoint(tmp_path, 20)
    stored = pickle.loads((folder / ".metadata").read_bytes())
    stored.storage_data = {number: stored.storage_data[number] for number in (1, 0, 2)}
    (folder / ".metadata").write_bytes(pickle.dumps(stored))
    assert damage_of(folder) is None
    shard = folder / "__0_0.distcp"
    shard.write_bytes(bytes(2) + shard.read_bytes()[2:])
    assert damage_of(folder).file == "__0_0.distcp"


def test_a_train_state_whose_checksums_are_right_may_hold_no_dictionary(tmp_path):
    folder = write_checkpoint(tmp_path, 20)
    with zipfile.ZipFile(folder / "train_state.pt", "w") as archive:
        archive.writestr("train_state/data.pkl", b"no pickle")
    assert damage_of(folder).file == "train_state.pt"


def test_a_config_that_was_cut_at_the_end_of_a_line_is_damaged_where_sections_are_missing(tmp_path):
    folder = write_checkpoint(tmp_path, 20)
    config = folder / "run_config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(lines[: lines.index("train:\n")]))
    assert damage_of(folder).file == "run_config.yaml"
    config.write_text("".join(lines).rstrip("\n"))
    assert damage_of(folder).file == "run_config.yaml"


def test_a_checkpoint_of_megatron_lm_has_neither_train_state_nor_run_config(tmp_path):
    folder = write_checkpoint(tmp_path, 20)
    for name in ("train_state.pt", "run_config.yaml"):
        (folder / name).unlink()
    torch.save({"iteration": 20}, folder / "common.pt")
    assert damage_of(folder).unfinished
    torch.save({"args": {"hidden_size": 8}, "iteration": 20}, folder / "common.pt")
    assert damage_of(folder) is None


def test_numbers_are_read_without_running_what_a_file_names(tmp_path):
    saved = {"step": torch.tensor(7, dtype=torch.int32), "flops": torch.tensor(1.5), "on": torch.tensor(True)}
    torch.save({**saved, "other": "text", "many": torch.zeros(3)}, tmp_path / "state.pt")
    numbers = read_numbers(tmp_path / "state.pt")
    assert (numbers["step"], numbers["flops"], numbers["on"]) == (7, 1.5, True)


def test_a_number_that_shares_its_storage_with_others_is_read(tmp_path):
    torch.save({"third": torch.arange(4)[2]}, tmp_path / "state.pt")
    assert read_numbers(tmp_path / "state.pt") == {"third": 2}


class Made:
    """An object of a class of its own, which a pickle makes of these arguments."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return Made, self.arguments


@pytest.mark.parametrize("arguments", [(), ("text", 3), ((0, int, "0"),), ((0, int, "0"), 0)])
def test_an_object_that_is_no_tensor_of_numbers_is_left_out(tmp_path, arguments):
    torch.save({"other": Made(*arguments), "step": torch.tensor(7)}, tmp_path / "state.pt")
    assert read_numbers(tmp_path / "state.pt") == {"step": 7}


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "is empty"), *((cut, "is cut off or overwritten") for cut in (b"PK", b"PK\5\6" + bytes(18)))],
    ids=["empty", "cut off", "an archive of nothing"],
)
def test_an_empty_file_of_torch_is_told_from_one_that_is_cut_off(tmp_path, content, what):
    (tmp_path / "state.pt").write_bytes(content)
    assert check_archive(tmp_path / "state.pt") == check_archive(io.BytesIO(content)) == what


@pytest.mark.parametrize("where", ["goes round", "grows"])
def test_a_config_whose_aliases_have_no_end_is_none(tmp_path, monkeypatch, where):
    monkeypatch.setattr("nemotron.config.yaml_file.MOST_VALUES", 1000)
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    text = "a: &a [*a]" if where == "goes round" else "\n".join(["a0: &a0 [1]", *lines])
    folder = write_checkpoint(tmp_path, 20)
    (folder / "run_config.yaml").write_text(f"{text}\n")
    assert read_checkpoint(folder).saved == {}
    assert damage_of(folder).file == "run_config.yaml"


@pytest.mark.parametrize("names", [["a/data.pkl"], ["a/data.pkl", "b/data.pkl"], ["a/0"], []])
def test_a_word_is_looked_for_in_the_dictionary_of_a_file_of_torch(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "common.pt", "w") as archive:
        for name in names:
            archive.writestr(name, b"args" if name.startswith("a") else b"other")
    assert mentions(tmp_path / "common.pt", "args") is ("a/data.pkl" in names)
    assert not mentions(tmp_path / "missing.pt", "args")


@pytest.mark.parametrize("section", ["checkpoint", "train"])
def test_a_config_that_lacks_what_megatron_reads_is_cut_off(tmp_path, section):
    """Sections are in alphabetical order: what ends before `train` lacks more."""
    folder = write_checkpoint(tmp_path, 20, {"checkpoint": {"save": "x"}, "train": {"train_iters": 9}})
    assert damage_of(folder) is None
    config = folder / "run_config.yaml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith(f"{section}:")]
    config.write_text("\n".join(kept).replace("  save: x", "").replace("  train_iters: 9", "") + "\n")
    damage = damage_of(folder)
    assert (damage.file, damage.unfinished) == ("run_config.yaml", True)


@pytest.mark.parametrize("kind", ["int32", "int64", "float32", "float64", "bool"])
def test_numbers_of_every_type_that_megatron_saves_are_read(tmp_path, kind):
    torch.save({"a": torch.tensor(1, dtype=getattr(torch, kind))}, tmp_path / "state.pt")
    assert read_numbers(tmp_path / "state.pt")["a"] == 1


def test_the_other_format_of_megatron_bridge_is_known_by_its_config(tmp_path):
    folder = write_checkpoint(tmp_path, 20, {"checkpoint": {"ckpt_format": "fsdp_dtensor"}, "train": {}})
    (folder / "metadata.json").unlink()
    assert damage_of(folder) is None
    other = write_checkpoint(tmp_path, 30, {"checkpoint": {"ckpt_format": "torch_dist"}, "train": {}})
    (other / "metadata.json").unlink()
    assert damage_of(other).file == "metadata.json"


@pytest.mark.parametrize(
    "place",
    [
        {"relative_path": "../iter_0000002/__0_0.distcp"},
        {"relative_path": "/etc/passwd"},
        {"relative_path": "."},
        {"relative_path": ""},
        {"relative_path": "a\0b"},
        {"relative_path": 5},
        {"offset": -5},
        {"offset": "x"},
        {"length": 0},
        {"length": -1},
        {"length": 2**70},
        {"length": None},
    ],
    ids=str,
)
def test_a_part_that_is_nowhere_in_the_checkpoint_is_damage(tmp_path, place):
    """Parts of another checkpoint would be loaded without a word."""
    write_checkpoint(tmp_path, 2)
    index = write_checkpoint(tmp_path, 4) / ".metadata"
    stored = pickle.loads(index.read_bytes())
    vars(stored.storage_data[1]).update(place)
    index.write_bytes(pickle.dumps(stored))
    damage = damage_of(index.parent)
    assert damage is not None
    assert damage.file == ".metadata"


def test_an_export_needs_about_the_bytes_that_are_not_of_the_optimizer(tmp_path):
    parts = {"decoder.weight": 100, "optimizer.state.exp_avg.decoder.weight": 400, "output_layer.weight": 20}
    stored = {
        MetadataIndex(name): SimpleNamespace(relative_path="__0_0.distcp", offset=0, length=length)
        for name, length in parts.items()
    }
    (tmp_path / ".metadata").write_bytes(pickle.dumps(SimpleNamespace(storage_data=stored)))
    assert count_model_bytes(tmp_path / ".metadata") == 120
    assert count_model_bytes(tmp_path / "missing") == 0


@pytest.mark.parametrize(
    ("saved", "tokenizer"),
    [
        ({"tokenizer": {"tokenizer_model": "mine"}}, "mine"),
        ({"tokenizer": {}}, None),
        ({"tokenizer": None}, None),
        ({}, None),
    ],
)
def test_the_tokenizer_that_a_checkpoint_was_trained_with_is_known(tmp_path, saved, tokenizer):
    assert Checkpoint(tmp_path, saved).tokenizer == tokenizer


def test_a_file_that_is_too_large_to_be_read_is_no_save_that_was_cut_short(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path, 20)

    def too_large(path):
        raise OSError(errno.EFBIG, "too large", str(path))

    monkeypatch.setattr(checkpoint, "read_bytes", too_large)
    assert str(damage_of(folder)) == ".metadata is too large"
