"""`register_data`: a folder of packed Parquet becomes data that training finds, where it lies."""

import json
import shutil
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.config import config_dir
from nemotron.data_prep.imports import register as room
from nemotron.data_prep.imports.packs import Counts
from nemotron.data_prep.imports.register import register_data
from nemotron.data_prep.imports.splits import find_splits
from nemotron.errors import Problem, UserError
from nemotron.training.prepared_data import find_prepared_data

ROW = {"input_ids": [5, 6, 7], "loss_mask": [0, 1, 0], "seq_start_id": [0]}
TOKENIZER = str(config_dir() / "data_prep/tiny/tokenizer")


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"input_ids": pa.int32(), "loss_mask": pa.uint8(), "seq_start_id": pa.int32()}
    columns = {name: pa.array([row[name] for row in rows], pa.list_(kind)) for name, kind in kinds.items()}
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def public(tmp_path):
    """The output folder of NVIDIA's public recipe: links in splits/, files in the run."""
    output = tmp_path / "stage1_sft"
    run = output / "runs/0a1b2c"
    for split, shard in (("train", 0), ("train", 1), ("valid", 2)):
        name = f"shard_{shard:06d}.parquet"
        write(run / "datasets/chat/f00d" / name, [{**ROW, "input_ids": [5, 6, 7 + shard]}] * (2 + shard))
        (output / "splits" / split).mkdir(parents=True, exist_ok=True)
        (output / "splits" / split / name).symlink_to(f"../../runs/0a1b2c/datasets/chat/f00d/{name}")
    (run / "config.json").write_text(
        json.dumps({"output": {"pack_size": 64}, "tokenizer": {"model": TOKENIZER, "add_eos": True}})
    )
    (output / "splits/metadata.json").write_text('{"total_tokens": 1}')
    return output


def register(folder, tmp_path, **options):
    return register_data(folder, name="SFTDataArtifact-sft", artifacts=tmp_path / "artifacts", **options)


def test_the_output_of_the_public_recipe_is_found_with_its_pack_size_and_tokenizer(public, tmp_path):
    registered = register(public, tmp_path)
    assert (registered.pack_size, registered.is_guessed, registered.tokenizer) == (64, False, TOKENIZER)
    assert {split: counts.packs for split, counts in registered.splits.items()} == {"train": 5, "valid": 4}
    data = find_prepared_data("SFTDataArtifact-sft", tmp_path / "artifacts", config_name="default")
    assert (data.reference, data.pack_size, data.packs) == ("SFTDataArtifact-sft:v1", 64, {"train": 5, "valid": 4})
    assert data.splits == public / "splits"
    assert data.tokenizer is not None
    assert (data.tokenizer.model, data.tokenizer.vocab_size) == (TOKENIZER, 2048)
    assert data.run_hash
    # Again: the same. With one value changed: another.
    assert register(public, tmp_path).artifact.reference == "SFTDataArtifact-sft:v1"
    write(public / "runs/0a1b2c/datasets/chat/f00d/shard_000000.parquet", [ROW] * 3)
    assert register(public, tmp_path).artifact.reference == "SFTDataArtifact-sft:v2"


@pytest.mark.parametrize(
    "config",
    ["", "[]", '{"output": 64, "tokenizer": "x"}', '{"output": {"pack_size": "64"}, "tokenizer": {"model": 5}}'],
)
def test_of_a_config_in_another_form_nothing_is_taken(public, tmp_path, config):
    (public / "runs/0a1b2c/config.json").write_text(config)
    registered = register(public, tmp_path)
    assert (registered.is_guessed, registered.tokenizer) == (True, None)


def test_what_nobody_recorded_is_given_or_guessed(tmp_path):
    write(tmp_path / "packs/train/a.parquet", [{**ROW, "input_ids": [1] * 60, "loss_mask": [1] * 59 + [0]}])
    registered = register(tmp_path / "packs", tmp_path)
    assert (registered.pack_size, registered.is_guessed, registered.tokenizer) == (64, True, None)
    assert len(registered.notes) == 2  # no tokenizer, no valid split
    registered = register(tmp_path / "packs", tmp_path, pack_size=4096, tokenizer=TOKENIZER)
    assert (registered.pack_size, registered.is_guessed, registered.tokenizer) == (4096, False, TOKENIZER)
    # The second is other data: training reads its tokenizer and pack size.
    data = find_prepared_data("SFTDataArtifact-sft", tmp_path / "artifacts", config_name="default")
    assert (data.reference, data.pack_size) == ("SFTDataArtifact-sft:v2", 4096)
    assert data.tokenizer is not None
    with pytest.raises(UserError, match=r"row 0: 60 .*\b32\b"):
        register(tmp_path / "packs", tmp_path, pack_size=32)


def test_a_folder_that_may_not_be_written_is_registered_all_the_same(tmp_path, monkeypatch):
    import nemotron.lineage.log

    def refuse(artifact, path):
        if path.name == "artifact.json":
            raise PermissionError(13, "Permission denied", str(path))
        write_record(artifact, path)

    write_record = nemotron.lineage.log.write
    monkeypatch.setattr(nemotron.lineage.log, "write", refuse)
    write(tmp_path / "packs/train/a.parquet", [ROW])
    assert register(tmp_path / "packs", tmp_path).artifact.version == 1
    assert find_prepared_data("SFTDataArtifact-sft", tmp_path / "artifacts", config_name="x").packs == {"train": 1}


def test_a_name_that_cannot_be_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UserError, match='"a/b"'):
        register_data(tmp_path / "nowhere", name="a/b", artifacts=tmp_path / "artifacts")


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "is not there"),
        ({"packs/train/a.txt": None}, "no Parquet in train/"),
        ({"packs/a.parquet": [ROW]}, "ln -s"),
        ({"packs/training/a.parquet": [ROW]}, "Rename training to train"),
        ({"packs/train/a.pq": [ROW]}, "not called *.parquet"),
        ({"packs/train/a.parquet": []}, "has no packs"),
        ({"packs/train/a.parquet": [{**ROW, "loss_mask": [0, 0, 0]}]}, "loss_mask is 0"),
        (
            {"packs/train/a.parquet": [ROW], "packs/valid/b.parquet": [{**ROW, "loss_mask": [0, 3, 0]}]},
            "b.parquet, row 0",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused_and_not_recorded(tmp_path, files, named):
    for name, rows in files.items():
        if rows is None:
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
        else:
            write(tmp_path / name, rows)
    with pytest.raises(UserError) as error:
        register(tmp_path / "packs", tmp_path)
    assert named in str(error.value)
    assert error.value.hint
    assert not (tmp_path / "artifacts").exists()


def test_a_file_in_two_splits_links_of_another_run_and_broken_links_are_refused(public, tmp_path):
    valid = public / "splits/valid"
    (valid / "again.parquet").symlink_to(public / "runs/0a1b2c/datasets/chat/f00d/shard_000000.parquet")
    with pytest.raises(UserError, match=r"again\.parquet.*shard_000000\.parquet|shard_000000\.parquet.*again\.parquet"):
        register(public, tmp_path)
    (valid / "again.parquet").unlink()
    write(public / "runs/ffff/datasets/chat/f00d/shard_000009.parquet", [ROW])
    (valid / "old.parquet").symlink_to(public / "runs/ffff/datasets/chat/f00d/shard_000009.parquet")
    with pytest.raises(UserError, match=r"\b0a1b2c, .*\bffff\b"):
        register(public, tmp_path)
    (valid / "old.parquet").unlink()
    (valid / "gone.parquet").symlink_to("nowhere.parquet")
    with pytest.raises(UserError, match=r"gone\.parquet .*nowhere\.parquet"):
        register(public, tmp_path)


def test_data_of_our_own_that_was_copied_is_the_same_data(tmp_path):
    from nemotron.config import load_config
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.data_prep.pipeline import prepare

    there = [f"output_dir={tmp_path}/there", f"run.artifacts={tmp_path}/artifacts", "sample=8", "workers=1"]
    prepared = prepare(load_config("tiny", there, group="data_prep", schema=DataPrepConfig).config)
    copied = shutil.copytree(prepared.splits_dir.resolve().parent / "splits", tmp_path / "here")
    name, manifest = prepared.artifact.name, (copied / "artifact.json").read_text()
    again = register_data(copied, name=name, artifacts=tmp_path / "artifacts").artifact
    assert (again.reference, again.metadata["run_hash"]) == (f"{name}:v1", prepared.artifact.metadata["run_hash"])
    assert find_prepared_data(name, tmp_path / "artifacts", config_name="tiny").splits == copied
    # What was read otherwise, or changed, is other data.
    other = register_data(copied, name=name, artifacts=tmp_path / "artifacts", pack_size=4096).artifact
    assert (other.reference, other.metadata["pack_size"]) == (f"{name}:v2", 4096)
    write(next((copied / "train").glob("*.parquet")), [ROW])
    (copied / "artifact.json").write_text(manifest)
    assert register_data(copied, name=name, artifacts=tmp_path / "artifacts").artifact.version == 3


@pytest.mark.parametrize("suffix", [".parquet", ".pq"])
@pytest.mark.parametrize(
    ("other", "name"), [("validation", "valid"), ("val", "valid"), ("dev", "valid"), ("training", "train")]
)
def test_splits_of_other_names_are_told_from_files_that_are_none(tmp_path, suffix, other, name):
    (tmp_path / other).mkdir()
    (tmp_path / other / f"a{suffix}").touch()
    with pytest.raises(UserError) as caught:
        find_splits(tmp_path)
    assert f"Rename {other} to {name};" in str(caught.value.hint)
    (tmp_path / "train").mkdir()
    (tmp_path / f"train/b{suffix}").touch()
    assert find_splits(tmp_path).files == {"train": [tmp_path / f"train/b{suffix}"]}


def test_no_more_files_are_read_once_there_are_enough_problems(tmp_path, monkeypatch):
    checked = []

    def check_file(path, limits):
        checked.append(path.name)
        return SimpleNamespace(problems=[Problem(f"{path.name} is wrong.", "Make it again.")], counts=Counts())

    monkeypatch.setattr(room, "check_file", check_file)
    monkeypatch.setattr(room, "MOST_PROBLEMS", 2)
    files = [tmp_path / f"{name}.parquet" for name in "abcd"]
    for path in files:
        path.touch()
    with pytest.raises(UserError, match=r"a\.parquet is wrong"):
        room._check_packs(SimpleNamespace(files={"train": files}), None, lambda done, total: None)
    assert checked == ["a.parquet", "b.parquet"]


def test_a_recorded_tokenizer_that_is_gone_leaves_ids_unchecked_but_a_given_one_is_refused(public, tmp_path):
    config = public / "runs/0a1b2c/config.json"
    config.write_text(config.read_text().replace(TOKENIZER, "/gone/tokenizer"))
    registered = register(public, tmp_path)
    assert ["/gone/tokenizer" in note for note in registered.notes] == [True]
    data = find_prepared_data("SFTDataArtifact-sft", tmp_path / "artifacts", config_name="default")
    assert data.pack_size == 64
    with pytest.raises(UserError, match="/gone/other"):
        register(public, tmp_path, tokenizer="/gone/other")


def test_progress_counts_the_bytes_of_all_files_and_an_empty_split_is_none(tmp_path):
    sizes, seen = [], []
    for split, rows in (("train", [ROW] * 3), ("valid", [ROW]), ("test", [])):
        write(tmp_path / f"packs/{split}/a.parquet", rows)
        sizes.append((tmp_path / f"packs/{split}/a.parquet").stat().st_size)
    registered = register(tmp_path / "packs", tmp_path, on_progress=lambda *progress: seen.append(progress))
    assert seen == [(sum(sizes[: number + 1]), sum(sizes)) for number in range(3)]
    assert {split: counts.packs for split, counts in registered.splits.items()} == {"train": 3, "valid": 1}
