"""Prepared data as the trainer finds it: typed, or refused where it is read."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.errors import UserError
from nemotron.training import prepared_data
from nemotron.training.config import RunConfig, SftConfig
from nemotron.training.prepared_data import DataTokenizer, PreparedData, find_data, find_prepared_data


@pytest.fixture
def find(tmp_path):
    """find(**facts) is the data of a folder with three packs to train on, of which an artifact records these facts."""

    def find(packs=3, **facts) -> PreparedData:
        (tmp_path / "train").mkdir(exist_ok=True)
        if packs:
            pq.write_table(pa.table({"ids": list(range(packs))}), tmp_path / "train/shard.parquet")
        record = {"name": "mine", "type": "dataset", "version": 1, "path": str(tmp_path), "metadata": facts}
        (tmp_path / "artifact.json").write_text(json.dumps(record))
        return find_prepared_data(str(tmp_path), tmp_path, config_name="tiny")

    return find


def test_what_data_prep_records_has_types(find, tmp_path):
    tokenizer = {"model": "words", "digest": "d", "vocab_size": 2048, "eos_id": 0}
    data = find(pack_size=512, pad_to_multiple=4, run_hash="a1", tokenizer=tokenizer, blend="not our business")
    assert data == PreparedData(
        "mine:v1",
        tmp_path,
        {"train": 3},
        512,
        4,
        "a1",
        DataTokenizer("words", "d", vocab_size=2048, eos_id=0),
        False,
        counts={"run_hash": "a1"},
    )
    assert (data.folder("train"), data.folder("valid")) == (tmp_path / "train", None)


def test_what_it_does_not_record_is_not_known(find):
    data = find()
    assert (data.pack_size, data.pad_to_multiple, data.run_hash, data.tokenizer) == (None, 1, None, None)


def test_every_split_is_counted_over_all_its_shards(find, tmp_path):
    for split, shards in {"valid": (2, 3), "test": (0,)}.items():
        (tmp_path / split).mkdir()
        for number, packs in enumerate(shards):
            pq.write_table(pa.table({"ids": list(range(packs))}), tmp_path / split / f"{number}.parquet")
    assert find().packs == {"train": 3, "valid": 5}


def test_one_is_a_size(find):
    data = find(pack_size=1, pad_to_multiple=1, tokenizer={"model": "words", "vocab_size": 1})
    assert (data.pack_size, data.pad_to_multiple, data.tokenizer) == (1, 1, DataTokenizer("words", vocab_size=1))


@pytest.mark.parametrize(
    ("facts", "mean"),
    [({"tokens": 30, "conversations": 4}, 7.5), ({"tokens": 30}, None), ({"tokens": 30, "conversations": 0}, None),
     ({"tokens": "30", "conversations": 4}, None)],
)  # fmt: skip
def test_the_mean_length_of_a_conversation_follows_from_the_counts(find, facts, mean):
    assert find(**facts).mean_length == mean


def test_a_model_made_from_it_records_what_became_of_its_rows(find):
    kept = {"run_hash": "a1", "rows": 9, "conversations": 4, "dropped": {"no_messages": 5}, "truncated": 1}
    assert find(**kept, tokens=30).counts == kept


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"pack_size": "512"}, "pack_size as '512'"),
        ({"pack_size": 0}, "pack_size as 0"),
        ({"pad_to_multiple": True}, "pad_to_multiple as True"),
        ({"run_hash": 1}, "run_hash as 1"),
        ({"tokenizer": "words"}, "tokenizer as 'words'"),
        ({"tokenizer": {"model": "words", "eos_id": -1}}, "tokenizer.eos_id as -1"),
    ],
)
def test_a_record_with_a_value_of_the_wrong_type_is_refused_by_name(find, facts, named):
    with pytest.raises(UserError) as error:
        find(**facts)
    assert named in error.value.message
    assert "mine:v1" in error.value.message


def test_the_home_in_a_recorded_path_is_expanded(find, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert find(tokenizer={"model": "~/words"}).tokenizer == DataTokenizer("/home/me/words")


def test_without_training_packs_the_command_that_makes_some_is_named(find, tmp_path):
    with pytest.raises(UserError) as error:
        find(packs=0)
    assert "data prep sft -c tiny;" in error.value.hint
    for without_its_own in ("default", "h100"):
        with pytest.raises(UserError, match="data prep sft;"):
            find_prepared_data(str(tmp_path), tmp_path, config_name=without_its_own)


def test_the_folder_around_the_splits_will_do(find, tmp_path):
    find(pack_size=512)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "splits").symlink_to(tmp_path)
    data = find_prepared_data(str(tmp_path / "output"), tmp_path, config_name="tiny")
    assert data.pack_size == 512
    assert data.packs == {"train": 3}


@pytest.mark.parametrize("shards", [{"train/b": False}, {"valid/a": False}, {"valid/a": True}])
def test_conversations_can_be_counted_where_every_shard_has_the_column(find, tmp_path, shards):
    column = pa.array([[3, 4]], pa.list_(pa.int32()))
    assert not find(packs=1).has_conversation_targets
    for name, has_column in {"train/shard": True, **shards}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        table = pa.table({"conversation_targets": column} if has_column else {"seq_start_id": column})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert find(packs=0).has_conversation_targets is all(shards.values())


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, Path.touch])
def test_what_is_in_place_of_a_shard_is_refused_by_name(find, tmp_path, make):
    """Opening a FIFO would wait for ever."""
    find()
    place = tmp_path / "train/zzz.parquet"
    make(place)
    with pytest.raises(UserError, match=str(place)):
        find()


def test_data_is_named_with_its_folder_once():
    assert PreparedData("Data:v1", Path("/data"), {}).whence == "Data:v1, /data"
    assert PreparedData("/data", Path("/data"), {}).whence == "/data"


def test_data_that_is_not_there_is_a_problem_with_what_to_do(tmp_path, monkeypatch):
    config = SftConfig(run=RunConfig(data="Gone:latest", artifacts=str(tmp_path)))
    data, [problem] = find_data(config, "mine")
    assert data is None
    assert "Gone" in problem.message
    asked = []
    monkeypatch.setattr(
        prepared_data, "find_prepared_data", lambda *given, config_name: asked.append((*given, config_name)) or "data"
    )
    assert find_data(config, "mine") == ("data", [])
    assert asked == [("Gone:latest", tmp_path, "mine")]
